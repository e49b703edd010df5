// Exchanges through the peers' memory, where the group has it.
#include "parallel/tensor_parallel.h"

#include <numeric>

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

void TensorParallel::PeerReduceAddNormQuantize(TensorView<const int32_t> partial,
                                               TensorView<const float> row_scale,
                                               TensorView<const float> weight_scale,
                                               TensorView<float> residual, float eps,
                                               TensorView<const float> norm_weight, bool int4,
                                               QuantizedRows out) {
  peers_->ReduceAddNormQuantize(partial, row_scale, weight_scale, residual, eps, norm_weight, int4, out);
  counters_->Add({(size() - 1) * partial.bytes(), 0, 0});
}

std::vector<Range> TensorParallel::OwnedByEach(int64_t tokens) const {
  std::vector<Range> owned;
  for (int r = 0; r < size(); ++r) owned.push_back(OwnedRows(tokens, r));
  return owned;
}

int64_t TensorParallel::LossyBytes(WireFormat format, int64_t tokens, int64_t channels,
                                   bool with_extra) const {
  int64_t rows = 0;
  for (int r = 0; r < size(); ++r) {
    if (r != rank()) rows += OwnedRows(tokens, r).size();
  }
  return rows * (WireRowBytes(format, channels) + (with_extra ? static_cast<int64_t>(sizeof(float)) : 0));
}

bool TensorParallel::PeerQuantizeShare(const RowInput& how, absl::Span<const int64_t> columns, float floor,
                                       TensorView<const float> x, TensorView<float> squares,
                                       QuantizedRows out) {
  if (peers_ == nullptr || !peers_->QuantizeShare(how, columns, floor, x, squares, out)) return false;
  if (how.keep >= std::accumulate(columns.begin(), columns.end(), int64_t{0})) return true;
  // This rank's channels of the rows that others select for, and what it found for its own.
  const int64_t selected = SplitEvenly(x.rows(), 1, size(), rank()).size();
  counters_->Add({0, (x.rows() - selected) * x.cols() * 4 + (size() - 1) * selected * 4, 0});
  return true;
}

void TensorParallel::PeerReduceLossyAdd(WireFormat format, TensorView<const float> partial,
                                        const float* extra, int64_t width, float eps,
                                        TensorView<float> residual) {
  const std::vector<Range> owned = OwnedByEach(partial.rows());
  peers_->ReduceRoundedAdd({format == WireFormat::kInt4, owned, partial, extra}, width, eps, residual);
  counters_->Add({LossyBytes(format, partial.rows(), partial.cols(), extra != nullptr), 0, 0});
}

}  // namespace ternion
