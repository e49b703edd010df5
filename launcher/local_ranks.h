#pragma once

#include <sys/types.h>

#include <vector>

#include "parallel/mpi_session.h"

namespace ternion {

// The ranks of this host as processes, so that one that is stopped, and cannot end by itself, can be ended. A process is held
// by a file descriptor: its number may be another's later.
class LocalRanks {
 public:
  // Called by all ranks together.
  explicit LocalRanks(const MpiSession& mpi);
  ~LocalRanks();
  LocalRanks(const LocalRanks&) = delete;
  LocalRanks& operator=(const LocalRanks&) = delete;

  // False where the rank is not on this host or this kernel has no such descriptors.
  bool Kill(int rank) const;
  // Those of this host that are stopped (SIGSTOP).
  void KillStopped() const;

 private:
  struct Process {
    pid_t pid = -1;
    int file = -1;  // a pidfd; -1: not of this host
  };
  std::vector<Process> processes_;  // [rank]
};

// Whether what has started this process lets ranks live on after one that was lost (mpirun --enable-recovery).
bool LauncherRecovers();

// Asks what has started this process (mpirun, or Open MPI's daemon on this host) to end the whole job, wherever its ranks
// are; `force`: also where it cannot reach all of them. False where it was something else.
bool EndJobByLauncher(bool force);

}  // namespace ternion
