#include "launcher/job_supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <optional>

#include "kernels/check.h"
#include "kernels/status.h"
#include "launcher/child_process.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

// A rank says that another was lost when it ends, and the others end with it. One that was stopped never does, and mpirun,
// which lets ranks outlive others, may outlive all. It waits for the answer of every host, until it is asked for the third time;
// that of a host which is cut off it waits for even then, and is killed.
constexpr std::chrono::milliseconds kLeaveLimit{300};
constexpr std::chrono::milliseconds kAskAgain{300};
constexpr int kTimesAsked = 3;
constexpr std::chrono::milliseconds kKillLimit{1200};
constexpr std::chrono::milliseconds kLook{100};

sigset_t Handled() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

struct JobSupervisor::Running {
  ChildProcess child;
  ToldStatuses told;
  std::string line;                         // of its output, not yet whole
  std::optional<Clock::time_point> ask_at;  // when mpirun is asked to end
  int times_asked = 0;
};

JobSupervisor::JobSupervisor() {
  const sigset_t signals = Handled();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal_file_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  CHECK(signal_file_ >= 0, "a file of signals can be made");
}

JobSupervisor::~JobSupervisor() {
  close(signal_file_);
  const sigset_t signals = Handled();
  sigprocmask(SIG_UNBLOCK, &signals, nullptr);
}

absl::StatusOr<int> JobSupervisor::Run(const LaunchCommand& command, int ranks) {
  Running job;
  TERNION_ASSIGN_OR_RETURN(job.child, StartChild(command, /*take_err=*/false));
  while (job.child.out >= 0 && job.times_asked <= kTimesAsked) {
    pollfd files[] = {{job.child.out, POLLIN, 0}, {signal_file_, POLLIN, 0}};
    poll(files, 2, static_cast<int>(kLook.count()));
    if (files[1].revents != 0) OnSignal(job);
    if (files[0].revents != 0) TakeOutput(job);
    EndLeftovers(job);
  }
  // Its connections to hosts that are cut off may outlive it, and hold what it wrote to.
  if (job.child.out >= 0) close(job.child.out);
  int status = 0;
  while (waitpid(job.child.pid, &status, 0) < 0 && errno == EINTR) continue;
  return job.told.JobStatus(ranks, ExitStatusOf(status));
}

void JobSupervisor::OnSignal(Running& job) {
  signalfd_siginfo info;
  while (read(signal_file_, &info, sizeof(info)) == sizeof(info)) {
    kill(job.child.pid, signals_ == 0 ? SIGUSR1 : SIGTERM);
    std::fprintf(stderr, "ternion launch: %s\n",
                 signals_ == 0 ? "running requests finish, then the job ends" : "ending the job at once");
    ++signals_;
  }
}

void JobSupervisor::TakeOutput(Running& job) {
  char bytes[4096];
  const ssize_t got = read(job.child.out, bytes, sizeof(bytes));
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) {
    close(job.child.out);
    job.child.out = -1;
  }
  if (got > 0) job.line.append(bytes, static_cast<size_t>(got));
  for (size_t end = job.line.find('\n'); end != std::string::npos; end = job.line.find('\n')) {
    const std::string line = job.line.substr(0, end + 1);
    job.line.erase(0, end + 1);
    if (!job.told.Take(line)) std::fwrite(line.data(), 1, line.size(), stdout);
  }
  std::fflush(stdout);
}

void JobSupervisor::EndLeftovers(Running& job) {
  if (!job.told.RankWasLost() || job.times_asked > kTimesAsked) return;
  const auto now = Clock::now();
  if (!job.ask_at.has_value()) job.ask_at = now + kLeaveLimit;
  if (now < *job.ask_at) return;
  const bool ask = job.times_asked < kTimesAsked;
  kill(ask ? job.child.pid : -job.child.pid, ask ? SIGTERM : SIGKILL);
  ++job.times_asked;
  job.ask_at = now + (job.times_asked < kTimesAsked ? kAskAgain : kKillLimit);
}

bool JobSupervisor::Sleep(std::chrono::milliseconds time) {
  const auto end = Clock::now() + time;
  while (true) {
    signalfd_siginfo info;
    if (read(signal_file_, &info, sizeof(info)) == sizeof(info)) {
      ++signals_;
      return false;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return true;
    pollfd file{signal_file_, POLLIN, 0};
    poll(&file, 1, static_cast<int>(left.count()));
  }
}

}  // namespace ternion
