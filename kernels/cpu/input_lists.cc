#include "kernels/cpu/input_lists.h"

#include <algorithm>

#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

// The share of non-zero inputs from which all lines are streamed.
constexpr double kStreamFrom = 0.75;

}  // namespace

InputLists::InputLists(TensorView<const int8_t> codes, const TernaryKernels& kernels)
    : codes_(codes),
      step_(ScatterStep(codes.cols())),
      stride_(codes.cols() + 16),
      all_quads_(CeilDivide(codes.cols(), kQuadInputs)),
      offsets_(codes.rows() * stride_),
      all_offsets_(all_quads_ * kQuadInputs),
      values_(codes.rows() * stride_),
      quads_(codes.rows()),
      sums_(codes.rows()) {
  bool any_all = false;
  for (int64_t t = 0; t < codes.rows(); ++t) {
    List(t, kernels);
    any_all |= all(t);
  }
  // Lines beyond the inputs, in the last quad, are line 0 times zero.
  for (int64_t i = 0; any_all && i < all_quads_ * kQuadInputs; ++i) {
    all_offsets_[i] = i < codes.cols() ? static_cast<uint32_t>(i * kLineBytes) : 0;
  }
}

void InputLists::List(int64_t token, const TernaryKernels& kernels) {
  int8_t* values = values_.data() + token * stride_;
  const InputCodes inputs{codes_.row(token), codes_.cols(), step_};
  quads_[token] = kernels.list_inputs(inputs, offsets_.data() + token * stride_, values);
  const double share = static_cast<double>(quads_[token]) / static_cast<double>(all_quads_);
  if (share >= kStreamFrom) ListAll(token);
  sums_[token] = kernels.sum_codes(values, quads_[token] * kQuadInputs);
  most_quads_ = std::max(most_quads_, quads_[token]);
}

void InputLists::ListAll(int64_t token) {
  const int8_t* codes = codes_.row(token);
  int8_t* values = values_.data() + token * stride_;
  const int64_t inputs = codes_.cols();
  quads_[token] = all_quads_;
  for (int64_t i = 0, line = 0; i < inputs; ++i) {
    values[line] = codes[i];
    line += step_;
    line -= line >= inputs ? inputs : 0;
  }
  std::fill_n(values + inputs, kQuadInputs, int8_t{0});
}

}  // namespace ternion::cpu
