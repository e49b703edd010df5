#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/peer_memory.h"

namespace ternion::cuda {

// Whether a block can hold rows of these columns: PeerSubNormQuantize takes them.
bool PeerRowsFit(const CudaBackend& backend, const RowInput& how, absl::Span<const int64_t> columns);

// PeerExchange::SubNormQuantize through `peers`, whose inboxes hold `member_words` words for each member from word
// `inbox_begin` on.
void PeerSubNormQuantize(CudaBackend& backend, const PeerInboxes& peers, int64_t inbox_begin,
                         int64_t member_words, const RowInput& how, absl::Span<const int64_t> columns,
                         TensorView<const float> mine, QuantizedRows out);

}  // namespace ternion::cuda
