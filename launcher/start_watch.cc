#include "launcher/start_watch.h"

#include <cstdio>
#include <cstdlib>

#include "launcher/exit_code.h"
#include "launcher/host_name.h"
#include "launcher/local_ranks.h"
#include "launcher/rank_environment.h"
#include "launcher/told_status.h"

namespace ternion {
namespace {

[[noreturn]] void EndTheJob(std::chrono::seconds limit, const std::string& late) {
  const bool speaks = IsFirstOfHost();
  if (speaks) {
    std::fprintf(
        stderr,
        "ternion: rank %d on %s: %s after %lld s; one was lost, is stopped or waits for a file: the job "
        "ends\n",
        LaunchedRank(), HostName().c_str(), late.c_str(), static_cast<long long>(limit.count()));
  }
  TellStatus(kLostRank);
  if (speaks && !LaunchListens() && LauncherRecovers()) EndJobByLauncher(/*force=*/true);
  std::_Exit(kLostRank);
}

}  // namespace

StartWatch::StartWatch(std::chrono::seconds limit, const std::string& late)
    : deadline_(limit, [limit, late] { EndTheJob(limit, late); }) {}

}  // namespace ternion
