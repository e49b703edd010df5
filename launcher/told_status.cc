#include "launcher/told_status.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "launcher/exit_code.h"

namespace ternion {
namespace {

constexpr char kFormat[] = "ternion-rank-status %d %d";

int OwnRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const char* rank = std::getenv(name)) return std::atoi(rank);
  }
  return 0;
}

// A status that is there stays. Ranks of other hosts may have no such folder.
void RecordStatus(int status) {
  const char* path = std::getenv(kStatusFileVariable);
  if (path == nullptr || (status == kDone && OwnRank() != 0)) return;
  const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) return;
  dprintf(file, "%d\n", status);
  close(file);
}

}  // namespace

bool LaunchListens() { return std::getenv(kTellStatusVariable) != nullptr; }

void TellStatus(int status) {
  RecordStatus(status);
  if (!LaunchListens()) return;
  std::printf(kFormat, OwnRank(), status);
  std::printf("\n");
  std::fflush(stdout);
}

void TellStatusAndExit(int status) {
  TellStatus(status);
  std::_Exit(status);
}

bool ToldStatuses::Take(std::string_view line) {
  int rank = 0;
  int status = 0;
  if (std::sscanf(std::string(line).c_str(), kFormat, &rank, &status) != 2) return false;
  statuses_[rank] = status;
  return true;
}

bool ToldStatuses::RankWasLost() const {
  for (const auto& [rank, status] : statuses_) {
    if (status == kLostRank) return true;
  }
  return false;
}

int ToldStatuses::JobStatus(int ranks, int mpirun_status) const {
  if (statuses_.empty()) return mpirun_status > 0 && mpirun_status < 128 ? kFailed : kLostRank;
  if (RankWasLost() || static_cast<int>(statuses_.size()) < ranks) return kLostRank;
  for (const auto& [rank, status] : statuses_) {
    if (status != kDone) return status;
  }
  return kDone;
}

}  // namespace ternion
