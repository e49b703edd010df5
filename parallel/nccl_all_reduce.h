#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "parallel/mpi_session.h"

namespace ternion {

enum class SumType { kFloat16, kInt32 };

// NCCL's own sum over all ranks of the job, which `bench collectives` compares with. Nothing else uses it: in which order
// NCCL adds is its own affair.
class NcclAllReduce {
 public:
  virtual ~NcclAllReduce() = default;

  // sum = the ranks' parts added up, `count` numbers on the device. Enqueued on the backend's stream; may be recorded.
  virtual absl::Status Enqueue(SumType type, const void* part, void* sum, int64_t count) = 0;
};

// Called by all ranks; kUnavailable in a build without NCCL. Goes after what was recorded with it.
absl::StatusOr<std::unique_ptr<NcclAllReduce>> MakeNcclAllReduce(Backend& backend, const MpiSession& mpi);

}  // namespace ternion
