#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/peer_memory.h"
#include "kernels/tensor.h"

namespace ternion::cuda {

// PeerExchange::ReduceAdd through `peers`, whose inboxes hold `member_words` words for each member from word `inbox_begin`
// on; columns come in fours.
void PeerReduceAdd(const Stream& stream, const PeerInboxes& peers, int64_t inbox_begin, int64_t member_words,
                   TensorView<const int32_t> partial, TensorView<const float> row_scale,
                   TensorView<const float> weight_scale, TensorView<float> residual);

}  // namespace ternion::cuda
