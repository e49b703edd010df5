#include "launcher/resources.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

constexpr char kSharedMemory[] = "/dev/shm";
constexpr int64_t kSegmentBytes = int64_t{4} << 20;  // of Open MPI's vader, for each rank

// The ranks of this host that exchange through shared memory; 0: none do, or somewhere else.
int SharingRanks() {
  if (std::getenv("OMPI_MCA_btl") != nullptr) return 0;
  if (std::getenv("OMPI_MCA_btl_vader_backing_directory") != nullptr) return 0;
  const char* ranks = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  return ranks == nullptr ? 0 : std::atoi(ranks);
}

}  // namespace

int64_t RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kLeastFiles;
  const rlim_t soft = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  const bool raised = setrlimit(RLIMIT_NOFILE, &limit) == 0;
  const rlim_t now = raised ? limit.rlim_max : soft;
  return static_cast<int64_t>(std::min<rlim_t>(now, INT32_MAX));  // RLIM_INFINITY, too
}

absl::Status CheckFileLimit(int64_t limit) {
  if (limit >= kLeastFiles) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("this process may open ", limit,
                                                 " files (ulimit -n); it needs at least ", kLeastFiles,
                                                 ": ulimit -n 1024"));
}

absl::Status CheckSharedMemory(int64_t free_bytes, int ranks) {
  const int64_t needed = ranks > 1 ? ranks * kSegmentBytes : 0;
  if (free_bytes >= needed) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(kSharedMemory, " has ", free_bytes, " bytes free; the ",
                                                 ranks, " ranks of this host need ", needed,
                                                 " there: free some, make it larger (docker run --shm-size), "
                                                 "or have them use TCP (mpirun --mca btl tcp,self)"));
}

absl::Status CheckHostResources() {
  TERNION_RETURN_IF_ERROR(CheckFileLimit(RaiseFileLimit()));
  struct statvfs shared {};
  if (statvfs(kSharedMemory, &shared) != 0) return absl::OkStatus();
  return CheckSharedMemory(static_cast<int64_t>(shared.f_bavail * shared.f_frsize), SharingRanks());
}

}  // namespace ternion
