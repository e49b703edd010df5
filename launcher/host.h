#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "parallel/mpi_session.h"

namespace ternion {

// What this rank may use of its host.
struct CoreShare {
  int cores = 1;      // cores in this rank's affinity mask
  int ranks = 1;      // ranks of this host with the same mask
  bool first = true;  // the first of them
};
// Called by all ranks together.
CoreShare ShareCores(const MpiSession& mpi);

// Cores in this process's affinity mask.
int OwnCores();

// Bytes that this host can still give out (MemAvailable), or 0 when it does not say.
int64_t AvailableHostMemory();

// Bytes of this process that lie in memory.
int64_t ResidentBytes();

// This host's addresses that other hosts might reach, one a line.
std::string HostAddresses();

// Shows how far a long task is: a bar that redraws on a terminal, a line every ten percent elsewhere, on
// stderr. Nothing when the task ends within half a second.
class ProgressLine {
 public:
  ProgressLine(std::string task, bool enabled);
  void Show(double done);
  void Done();

 private:
  std::string task_;
  bool enabled_;
  bool terminal_;
  bool shown_ = false;
  int last_tenth_ = 0;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace ternion
