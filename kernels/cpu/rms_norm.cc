// Norms by rows, in two halves (sums of squares, then the quotient) so that a row may be spread over ranks.
#include <cmath>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {

void CpuBackend::SumSquares(TensorView<const float> x, int segment, TensorView<float> out) {
  CHECK(segment >= 1 && segment <= 32 && (segment & (segment - 1)) == 0,
        "a segment is a power of two up to 32");
  CHECK(x.rows() == out.rows() && out.cols() * segment == x.cols(), "SumSquares shapes");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernels.sum_squares(x.row(t), segment, out.cols(), out.row(t));
  });
}

void CpuBackend::RmsNorm(TensorView<const float> x, TensorView<const float> sums, int64_t width, float eps,
                         TensorView<const float> weight, TensorView<float> y) {
  CHECK(x.rows() == y.rows() && x.cols() == y.cols(), "RmsNorm shapes");
  CHECK(sums.rows() == x.rows() && weight.size() == x.cols(), "RmsNorm shapes");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float sum = 0;
      for (int64_t i = 0; i < sums.cols(); ++i) sum += sums.row(t)[i];
      const float root = std::sqrt(sum / static_cast<float>(width) + eps);
      kernels.normalize(x.row(t), root, weight.data(), x.cols(), y.row(t));
    }
  });
}

void CpuBackend::ScaleColumns(TensorView<const float> x, TensorView<const float> weight,
                              TensorView<float> y) {
  CHECK(x.rows() == y.rows() && x.cols() == y.cols() && weight.size() == x.cols(), "ScaleColumns shapes");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernels.multiply(x.row(t), weight.data(), x.cols(), y.row(t));
  });
}

}  // namespace ternion::cpu
