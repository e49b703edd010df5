// Exchanges of a few tokens through the peers' memory, where the group has it.
#include "parallel/tensor_parallel.h"

namespace ternion {

bool TensorParallel::PeersTake(int64_t tokens, const RowInput& how, absl::Span<const int64_t> columns) const {
  return peers_ != nullptr && !sequence_parallel(tokens) && tokens <= peers_->most_tokens() &&
         peers_->Takes(how, columns);
}

void TensorParallel::PeerSubNormQuantize(const RowInput& how, absl::Span<const int64_t> columns,
                                         TensorView<const float> mine, QuantizedRows out) {
  peers_->SubNormQuantize(how, columns, mine, out);
  counters_->Add({0, (size() - 1) * mine.bytes(), 0});
}

void TensorParallel::PeerReduceAdd(TensorView<const int32_t> partial, TensorView<const float> row_scale,
                                   TensorView<const float> weight_scale, TensorView<float> residual) {
  peers_->ReduceAdd(partial, row_scale, weight_scale, residual);
  counters_->Add({(size() - 1) * partial.bytes(), 0, 0});
}

}  // namespace ternion
