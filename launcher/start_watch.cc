#include "launcher/start_watch.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "launcher/exit_code.h"
#include "launcher/local_ranks.h"
#include "launcher/rank_environment.h"
#include "launcher/told_status.h"

namespace ternion {
namespace {

[[noreturn]] void EndTheJob(std::chrono::seconds limit, const std::string& late) {
  const bool speaks = IsFirstOfHost();
  if (speaks) {
    char host[256] = {};
    gethostname(host, sizeof(host) - 1);
    std::fprintf(
        stderr,
        "ternion: rank %d on %s: %s after %lld s; one was lost, is stopped or waits for a file: the job "
        "ends\n",
        LaunchedRank(), host, late.c_str(), static_cast<long long>(limit.count()));
  }
  TellStatus(kLostRank);
  if (speaks && !LaunchListens() && LauncherRecovers()) EndJobByLauncher(/*force=*/true);
  std::_Exit(kLostRank);
}

}  // namespace

StartWatch::StartWatch(std::chrono::seconds limit, const std::string& late)
    : deadline_(limit, [limit, late] { EndTheJob(limit, late); }) {}

}  // namespace ternion
