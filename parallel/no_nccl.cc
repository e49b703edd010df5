// Stands in for nccl_communicator.cc and nccl_all_reduce.cc in a build without CUDA or NCCL.
#include "parallel/nccl_all_reduce.h"
#include "parallel/nccl_communicator.h"

namespace ternion {

bool HasNccl() { return false; }

absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(Backend&, const MpiSession&, int, int,
                                                                   NcclUse) {
  return absl::UnavailableError(
      "this build has no NCCL, which several CUDA devices need; build it with NCCL, or use --device cpu");
}

absl::StatusOr<std::unique_ptr<NcclAllReduce>> MakeNcclAllReduce(Backend&, const MpiSession&) {
  return absl::UnavailableError("this build has no NCCL");
}

}  // namespace ternion
