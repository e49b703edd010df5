#include "kernels/cpu/input_lists.h"

#include <algorithm>

#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

// The share of non-zero inputs from which all lines are streamed.
constexpr double kStreamFrom = 0.75;

// values[i] = codes[(begin + i) * step mod n] for i < count.
void Gather(const int8_t* codes, int64_t n, int64_t step, int64_t begin, int64_t count, int8_t* values) {
  // Four walks side by side: each waits for its own last step.
  int64_t at[4];
  for (int64_t k = 0; k < 4; ++k) at[k] = (begin + k) * step % n;
  const int64_t stride = 4 * step % n;
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int64_t k = 0; k < 4; ++k) {
      values[i + k] = codes[at[k]];
      at[k] += stride;
      at[k] -= at[k] >= n ? n : 0;
    }
  }
  for (int64_t k = 0; i + k < count; ++k) values[i + k] = codes[at[k]];
}

}  // namespace

InputLists::InputLists(TensorView<const int8_t> codes, int64_t begin, int64_t end,
                       const TernaryKernels& kernels)
    : codes_(codes),
      begin_(begin),
      end_(end),
      stride_(end - begin + 16),
      offsets_(codes.rows() * stride_),
      values_(codes.rows() * stride_),
      lists_(codes.rows()) {
  for (int64_t t = 0; t < codes.rows(); ++t) {
    // Of the whole token, as all its ranges must decide alike.
    const int64_t used = kernels.count_inputs(codes.row(t), codes.cols());
    const bool stream = static_cast<double>(used) >= kStreamFrom * static_cast<double>(codes.cols());
    if (!stream) unread_inputs_ += codes.cols() - used;
    lists_[t] = stream ? ListLines(t) : ListNonZero(t, kernels);
    lists_[t].sum = kernels.sum_codes(lists_[t].values, lists_[t].quads * kQuadInputs);
  }
}

InputLists::List InputLists::ListNonZero(int64_t token, const TernaryKernels& kernels) {
  uint32_t* offsets = offsets_.data() + token * stride_;
  int8_t* values = values_.data() + token * stride_;
  const int64_t lines = codes_.cols(), step = ScatterStep(lines);
  const InputCodes inputs{codes_.row(token) + begin_, end_ - begin_, begin_ * step % lines, step, lines};
  return {offsets, values, kernels.list_inputs(inputs, offsets, values), 0, 0};
}

InputLists::List InputLists::ListLines(int64_t token) {
  int8_t* values = values_.data() + token * stride_;
  const int64_t count = end_ - begin_, inputs = codes_.cols();
  Gather(codes_.row(token), inputs, ScatterBack(inputs), begin_, count, values);
  if (count % kQuadInputs == 0) return {nullptr, values, count / kQuadInputs, begin_ * kLineBytes, 0};
  // A last quad that is not full would reach beyond the range, and beyond the matrix: it is spelled out.
  uint32_t* offsets = offsets_.data() + token * stride_;
  std::fill_n(values + count, kQuadInputs, int8_t{0});
  for (int64_t i = 0; i < count; ++i) offsets[i] = static_cast<uint32_t>(i * kLineBytes);
  std::fill_n(offsets + count, kQuadInputs, 0u);
  return {offsets, values, CeilDivide(count, kQuadInputs), begin_ * kLineBytes, 0};
}

}  // namespace ternion::cpu
