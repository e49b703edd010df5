#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/check_isa.h"
#include "launcher/commands.h"
#include "launcher/options.h"
#include "launcher/rank_environment.h"
#include "launcher/resources.h"
#include "launcher/start_watch.h"
#include "launcher/told_status.h"
#include "parallel/mpi_session.h"

namespace ternion {
namespace {

// A full disk, say: what was printed is lost, and a script must know.
int CheckOutput(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "ternion: the output could not be written to stdout: %s\n", std::strerror(errno));
  return status == kDone ? kFailed : status;
}

// Blocked before any thread is made, MPI's too, so that a signal goes to the thread that waits for it
// (launcher/serve.cc) and not to whichever runs. A rank other than 0 ends when rank 0 says so, or when the
// connection to it is lost.
void MaskSignals(int how) {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGUSR1, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(how, &signals, nullptr);
}

int Main(int argc, char** argv) {
  CLI::App app{"Ternion: distributed inference for 1-bit LLMs", "ternion"};
  app.set_version_flag("--version", TERNION_VERSION);
  app.require_subcommand(1);
  Command chosen;
  AddServe(app, chosen);
  AddGenerate(app, chosen);
  AddPerplexity(app, chosen);
  AddBench(app, chosen);
  AddInspect(app, chosen);
  AddConvert(app, chosen);
  AddLaunch(app, chosen);
  AddHostCheck(app, chosen);

  const absl::Status configured = LoadConfigFile(argc, argv, app);
  if (!configured.ok()) {
    if (IsFirstRank()) std::fprintf(stderr, "ternion: %s\n", std::string(configured.message()).c_str());
    return kBadArguments;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (!IsFirstRank()) return error.get_exit_code() == 0 ? kDone : kBadArguments;
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "ternion: %s (ternion --help says more)\n", error.what());
    return kBadArguments;
  }

  signal(SIGPIPE, SIG_IGN);
  if (chosen.run_alone) return IsFirstRank() ? chosen.run_alone() : kDone;
  if (const absl::Status asked = cpu::CheckIsa(); !asked.ok()) {
    if (IsFirstRank()) std::fprintf(stderr, "ternion: %s\n", std::string(asked.message()).c_str());
    return kBadArguments;
  }
  if (const absl::Status enough = CheckHostResources(); !enough.ok()) {
    if (IsFirstOfHost()) std::fprintf(stderr, "ternion: %s\n", std::string(enough.message()).c_str());
    return kBadArguments;
  }
  MaskSignals(SIG_BLOCK);
  auto watch = std::make_unique<StartWatch>(std::chrono::seconds(60), "MPI has not started on all ranks");
  absl::StatusOr<std::unique_ptr<MpiSession>> mpi = MpiSession::Start(&argc, &argv);
  watch.reset();
  if (!mpi.ok()) {
    std::fprintf(stderr, "ternion: %s\n", std::string(mpi.status().message()).c_str());
    return kFailed;
  }
  SetCheckTag(absl::StrCat("rank ", (*mpi)->rank()));
  if (!chosen.takes_signals) MaskSignals(SIG_UNBLOCK);
  return chosen.run(**mpi);
}

}  // namespace
}  // namespace ternion

int main(int argc, char** argv) {
  const int status = ternion::CheckOutput(ternion::Main(argc, argv));
  ternion::TellStatus(status);
  return status;
}
