// Stands in for nccl_communicator.cc in a build without CUDA or NCCL.
#include "parallel/nccl_communicator.h"

namespace ternion {

bool HasNccl() { return false; }

absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(Backend&, const MpiSession&, int, int,
                                                                   NcclUse) {
  return absl::UnavailableError(
      "this build has no NCCL, which several CUDA devices need; build it with NCCL, or use --device cpu");
}

}  // namespace ternion
