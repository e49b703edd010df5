#pragma once

#include "absl/functional/function_ref.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/peer_blocks.h"

namespace ternion::cuda {

// PeerExchange::GatherCodes. `turn` gives an inbox for each of the slices that it takes.
void PeerGatherCodes(const CudaBackend& backend, absl::FunctionRef<BlockInbox()> turn, bool int4,
                     absl::Span<const Range> owned, BasicQuantizedRows<const int8_t, const float> mine,
                     QuantizedRows all);

}  // namespace ternion::cuda
