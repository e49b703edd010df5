// Integer sums to floats, four columns a thread; the product of the scales first (docs/numerics.md). Bound by
// memory.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

template <bool kAligned>
__global__ void DequantizeRow(const int32_t* sums, const float* row_scale, const float* weight_scale,
                              int64_t cols, float* y) {
  StartNext();
  const int64_t row = blockIdx.x, column = ColumnOfRow(), left = cols - column;
  if (left <= 0) return;
  const Four<float> scale = LoadFour<kAligned>(weight_scale + column, left);
  WaitForPrevious();
  const Four<int32_t> sum = LoadFour<kAligned>(sums + row * cols + column, left);
  const float of_row = row_scale[row];
  Four<float> out;
#pragma unroll
  for (int i = 0; i < 4; ++i) out.v[i] = static_cast<float>(sum.v[i]) * (of_row * scale.v[i]);
  StoreFour<kAligned>(out, y + row * cols + column, left);
}

}  // namespace

void CudaBackend::Dequantize(TensorView<const int32_t> sums, TensorView<const float> row_scale,
                             TensorView<const float> weight_scale, TensorView<float> y) {
  CHECK(sums.rows() == y.rows() && sums.cols() == y.cols(), "Dequantize shapes");
  CHECK(row_scale.size() == y.rows() && weight_scale.size() == y.cols(), "Dequantize shapes");
  if (y.empty()) return;
  const bool aligned = FoursAligned(y.cols(), sums.data(), weight_scale.data(), y.data());
  Launch(stream_, aligned ? DequantizeRow<true> : DequantizeRow<false>, ByRows(y.rows(), y.cols()),
         sums.data(), row_scale.data(), weight_scale.data(), y.cols(), y.data());
}

}  // namespace ternion::cuda
