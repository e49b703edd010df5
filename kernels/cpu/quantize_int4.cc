// Q4 of BitNet a4.8: one unit is mean|x| / sqrt(7).
#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {
namespace {

constexpr float kRoot7 = 2.64575131f;
constexpr float kLeastMean = 1e-5f;
constexpr int64_t kMeanSegment = 32;

}  // namespace

void CpuBackend::QuantizeInt4(TensorView<const float> x, QuantizedRows out) {
  CHECK(out.codes.rows() == x.rows() && out.codes.cols() == x.cols(), "QuantizeInt4 shapes");
  CHECK(out.scales.size() == x.rows() && x.cols() % kMeanSegment == 0, "QuantizeInt4 shapes");
  const QuantizeKernels& kernels = *KernelsFor(isa_).quantize;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float mean = kernels.abs_sum(x.row(t), x.cols()) / static_cast<float>(x.cols());
      const float a = std::max(mean, kLeastMean);
      kernels.quantize_int4(x.row(t), kRoot7 / a, x.cols(), out.codes.row(t));
      out.scales.data()[t] = a / kRoot7;
    }
  });
}

}  // namespace ternion::cpu
