#include "launcher/local_ranks.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

// Fields of proc(5)'s stat: the process's state, and when it was started, in clock ticks since the host's boot, which tells
// it from a later one of the same number.
constexpr int kState = 3, kStartTime = 22;

// Empty: there is no such process.
std::string StatField(pid_t pid, int number) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  const std::string line(std::istreambuf_iterator<char>(file), {});
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream fields(line.substr(name_end + 1));
  std::string field;
  for (int i = kState; i <= number; ++i) fields >> field;
  return field;
}

// `start`: to know it by, since containers may share a host's name but not its numbers. -1: it is no process of this host.
int OpenProcess(pid_t pid, const std::string& start) {
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process >= 0 && StatField(pid, kStartTime) == start) return process;
  if (process >= 0) close(process);
  return -1;
}

bool KillProcess(int file) {
  return file >= 0 && syscall(SYS_pidfd_send_signal, file, SIGKILL, nullptr, 0) == 0;
}

}  // namespace

LocalRanks::LocalRanks(const MpiSession& mpi) {
  const std::string mine = absl::StrCat(getpid(), " ", StatField(getpid(), kStartTime), " ", mpi.host());
  for (const std::string& facts : mpi.AllGatherStrings(mine)) {
    std::istringstream fields(facts);
    std::string start, host;
    Process& process = processes_.emplace_back();
    fields >> process.pid >> start >> host;
    if (facts != mine && host == mpi.host()) process.file = OpenProcess(process.pid, start);
  }
}

LocalRanks::~LocalRanks() {
  for (const Process& process : processes_) {
    if (process.file >= 0) close(process.file);
  }
}

bool LocalRanks::Kill(int rank) const { return KillProcess(processes_[static_cast<size_t>(rank)].file); }

void LocalRanks::KillStopped() const {
  for (const Process& process : processes_) {
    if (process.file >= 0 && StatField(process.pid, kState) == "T") KillProcess(process.file);
  }
}

bool LauncherRecovers() { return std::getenv("OMPI_MCA_orte_enable_recovery") != nullptr; }

bool EndJobByLauncher(bool force) {
  constexpr const char* kLaunchers[] = {"mpirun", "mpiexec", "orterun", "orted", "prterun", "prted"};
  const pid_t parent = getppid();
  std::string name;
  std::ifstream(absl::StrCat("/proc/", parent, "/comm")) >> name;
  const bool known = std::find(std::begin(kLaunchers), std::end(kLaunchers), name) != std::end(kLaunchers);
  if (!known || kill(parent, SIGTERM) != 0) return false;
  // Open MPI waits for the answer of every host, until it is asked for the third time.
  for (int i = 0; force && i < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    kill(parent, SIGTERM);
  }
  return true;
}

}  // namespace ternion
