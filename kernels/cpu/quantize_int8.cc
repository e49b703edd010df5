// Q8: a row's absmax, then its codes.
#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {

void CpuBackend::RowAbsMax(TensorView<const float> x, TensorView<float> out) {
  CHECK(out.size() == x.rows(), "RowAbsMax shapes");
  const QuantizeKernels& kernels = *KernelsFor(isa_).quantize;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) out.data()[t] = kernels.abs_max(x.row(t), x.cols());
  });
}

void CpuBackend::QuantizeInt8(TensorView<const float> x, TensorView<const float> absmax, float floor,
                              QuantizedRows out) {
  CHECK(out.codes.rows() == x.rows() && out.codes.cols() == x.cols(), "QuantizeInt8 shapes");
  CHECK(absmax.size() == x.rows() && out.scales.size() == x.rows(), "QuantizeInt8 shapes");
  const QuantizeKernels& kernels = *KernelsFor(isa_).quantize;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float a = std::max(absmax.data()[t], floor);
      kernels.quantize_int8(x.row(t), 127.0f / a, x.cols(), out.codes.row(t));
      out.scales.data()[t] = a / 127.0f;
    }
  });
}

}  // namespace ternion::cpu
