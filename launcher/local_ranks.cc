#include "launcher/local_ranks.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

// Tells a process from a later one of the same number: when it was started (proc(5), field 22 of stat), in clock ticks since
// the host's boot; empty: there is none.
std::string StartTime(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  const std::string line(std::istreambuf_iterator<char>(file), {});
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream fields(line.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return field;
}

// A process of this host that `facts` describe, or -1: containers may share a host's name but not its numbers.
int OpenProcess(const std::string& facts, const std::string& host) {
  std::istringstream fields(facts);
  std::string start, other_host;
  pid_t pid = 0;
  fields >> pid >> start >> other_host;
  if (other_host != host) return -1;
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process >= 0 && StartTime(pid) == start) return process;
  if (process >= 0) close(process);
  return -1;
}

}  // namespace

LocalRanks::LocalRanks(const MpiSession& mpi) {
  const std::string mine = absl::StrCat(getpid(), " ", StartTime(getpid()), " ", mpi.host());
  const std::vector<std::string> all = mpi.AllGatherStrings(mine);
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const bool other = static_cast<int>(rank) != mpi.rank();
    processes_.push_back(other ? OpenProcess(all[rank], mpi.host()) : -1);
  }
}

LocalRanks::~LocalRanks() {
  for (const int process : processes_) {
    if (process >= 0) close(process);
  }
}

bool LocalRanks::Kill(int rank) const {
  const int process = processes_[static_cast<size_t>(rank)];
  return process >= 0 && syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0) == 0;
}

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
