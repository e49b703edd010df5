// Integer sums to floats: the product of the scales first (docs/numerics.md).
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {

void CpuBackend::Dequantize(TensorView<const int32_t> sums, TensorView<const float> row_scale,
                            TensorView<const float> weight_scale, TensorView<float> y) {
  CHECK(sums.rows() == y.rows() && sums.cols() == y.cols(), "Dequantize shapes");
  CHECK(row_scale.size() == y.rows() && weight_scale.size() == y.cols(), "Dequantize shapes");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, y.rows(), y.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      kernels.dequantize(sums.row(t), row_scale.data()[t], weight_scale.data(), y.cols(), y.row(t));
    }
  });
}

}  // namespace ternion::cpu
