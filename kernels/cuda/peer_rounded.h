#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/peer_blocks.h"

namespace ternion::cuda {

// What becomes of the sums of this member's rows: stored, or added to what is there when `add`, first multiplied by the
// inverse rms of the extra sums where there are any.
struct RoundedSums {
  float* to = nullptr;         // [own rows, n]
  float* extra_sum = nullptr;  // [own rows]; null: not wanted
  bool add = false;
  float width = 1;
  float eps = 0;
};

// PeerExchange::ReduceRounded and ReduceRoundedAdd. `turn` gives an inbox for each of the slices that they take.
void PeerReduceRounded(const CudaBackend& backend, absl::FunctionRef<BlockInbox()> turn,
                       const RoundedRows& rows, const RoundedSums& sums);

}  // namespace ternion::cuda
