#pragma once

#include <cstdint>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/peer_memory.h"

namespace ternion::cuda {

// Whether PeerReduceNorm takes rows of n channels.
bool PeerNormFits(const CudaBackend& backend, int64_t n);

// What PeerExchange::ReduceAddNormQuantize is called with.
struct ReduceNorm {
  TensorView<const int32_t> partial;
  TensorView<const float> row_scale;
  TensorView<const float> weight_scale;
  TensorView<float> residual;
  float eps = 0;
  TensorView<const float> norm_weight;
  bool int4 = false;
  QuantizedRows out;
};

// PeerExchange::ReduceAddNormQuantize through `peers`, whose inboxes hold `member_words` words for each member from word
// `inbox_begin` on.
void PeerReduceNorm(const CudaBackend& backend, const PeerInboxes& peers, int64_t inbox_begin,
                    int64_t member_words, const ReduceNorm& what);

}  // namespace ternion::cuda
