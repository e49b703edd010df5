#pragma once

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/peer_blocks.h"
#include "kernels/peer_exchange.h"

namespace ternion::cuda {

// What PeerExchange::QuantizeShare is called with.
struct ShareRows {
  RowInput how;
  absl::Span<const int64_t> columns;
  float floor = 0;
  TensorView<const float> x;
  TensorView<float> squares;
  QuantizedRows out;
};

// An inbox for rows of which the largest channels are to be found.
struct SelectionInbox {
  BlockInbox rows;
  int64_t answers_begin = 0;  // words into every inbox; [member][kSelectionRows]
};
inline constexpr int64_t kSelectionRows = 4096;  // of a member at a time, at most

// PeerExchange::QuantizeShare of rows that keep all their channels; false where a block cannot hold them.
bool QuantizeWholeShare(const CudaBackend& backend, const ShareRows& rows);
// And of those that keep the largest. `turn` gives an inbox for each of the slices that they take.
bool QuantizeLargestShare(const CudaBackend& backend, absl::FunctionRef<SelectionInbox()> turn,
                          const ShareRows& rows);

}  // namespace ternion::cuda
