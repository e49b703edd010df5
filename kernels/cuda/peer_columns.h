#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/peer_blocks.h"

namespace ternion::cuda {

// PeerExchange::GatherColumns. `turn` gives the inbox of each slice of the rows.
void PeerGatherColumns(const CudaBackend& backend, absl::FunctionRef<BlockInbox()> turn,
                       absl::Span<const int64_t> columns, TensorView<const float> mine,
                       TensorView<float> all);

}  // namespace ternion::cuda
