// The k-th largest magnitude of a row. Magnitudes are ordered as their bits: the upper 16 are found bit by
// bit, each a count over 2 bytes a channel in the first cache; the lower 16 among the few entries that share
// the upper.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"
#include "kernels/cpu/scratch.h"

namespace ternion::cpu {
namespace {

// The largest bound that at least k of the halves reach: the k-th largest of them.
int16_t KthHalf(const QuantizeKernels& kernels, const int16_t* halves, int64_t n, int64_t k) {
  int16_t kth = 0;
  for (int bit = 14; bit >= 0; --bit) {
    const auto bound = static_cast<int16_t>(kth | 1 << bit);
    if (kernels.count_at_least(halves, bound, n) >= k) kth = bound;
  }
  return kth;
}

float KthOf(const QuantizeKernels& kernels, const float* x, int64_t n, int64_t k) {
  Scratch<int16_t> halves(n);  // [n]
  kernels.high_halves(x, n, halves.data());
  const int16_t kth = KthHalf(kernels, halves.data(), n, k);
  // Nothing exceeds the largest half.
  const int64_t above = kth == INT16_MAX ? 0 : kernels.count_at_least(halves.data(), kth + 1, n);
  std::vector<float> equal;  // magnitudes whose upper half is `kth`
  for (int64_t i = 0; i < n; ++i) {
    if (halves[i] == kth) equal.push_back(x[i]);
  }
  const auto magnitude = [](float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits & 0x7fffffffu;
  };
  const auto nth = equal.begin() + (k - above - 1);
  std::nth_element(equal.begin(), nth, equal.end(),
                   [&](float a, float b) { return magnitude(a) > magnitude(b); });
  return std::abs(*nth);
}

}  // namespace

void CpuBackend::KthMagnitude(TensorView<const float> x, int64_t k, TensorView<float> threshold) {
  CHECK(threshold.size() == x.rows() && k >= 1 && k <= x.cols(), "KthMagnitude shapes");
  const QuantizeKernels& kernels = *KernelsFor(isa_).quantize;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) threshold.data()[t] = KthOf(kernels, x.row(t), x.cols(), k);
  });
}

void CpuBackend::ZeroBelow(TensorView<const float> threshold, TensorView<float> x) {
  CHECK(threshold.size() == x.rows(), "ZeroBelow shapes");
  const QuantizeKernels& kernels = *KernelsFor(isa_).quantize;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernels.zero_below(threshold.data()[t], x.cols(), x.row(t));
  });
}

}  // namespace ternion::cpu
