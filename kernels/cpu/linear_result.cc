#include "kernels/cpu/linear_result.h"

#include <algorithm>

#include "kernels/check.h"

namespace ternion::cpu {

void CheckLinear(int64_t outputs, int64_t inputs, TensorView<const float> x, TensorView<const float> bias,
                 TensorView<float> y) {
  CHECK(x.cols() == inputs, "x is [tokens, inputs]");
  CHECK(y.rows() == x.rows() && y.cols() == outputs, "y is [tokens, outputs]");
  CHECK(bias.empty() || bias.size() == outputs, "a bias for every output, or none");
}

void StoreLinear(TensorView<const float> sums, int64_t begin, TensorView<const float> bias, bool add,
                 TensorView<float> y) {
  const int64_t n = std::min(sums.cols(), y.cols() - begin);
  const float* const offsets = bias.empty() ? nullptr : bias.data() + begin;
  for (int64_t t = 0; t < y.rows(); ++t) {
    const float* const from = sums.row(t);
    float* const to = y.row(t) + begin;
    for (int64_t i = 0; i < n; ++i) {
      const float sum = offsets == nullptr ? from[i] : from[i] + offsets[i];
      to[i] = add ? to[i] + sum : sum;
    }
  }
}

}  // namespace ternion::cpu
