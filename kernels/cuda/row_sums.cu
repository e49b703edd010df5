// Statistics of rows from their segments: a warp for each row. A few numbers; bound by the launch.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void RowSumsKernel(const float* sums, int64_t rows, int64_t segments, float* out) {
  StartNext();
  WaitForPrevious();
  const int64_t row = int64_t{blockIdx.x} * (kThreads / kWarp) + WarpIndex();
  if (row >= rows) return;
  const float sum = SumOfSegments(sums + row * segments, segments);
  if (Lane() == 0) out[row] = sum;
}

__global__ void InverseRmsKernel(const float* sum, int64_t rows, float width, float eps, float* out) {
  StartNext();
  WaitForPrevious();
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row < rows) out[row] = 1.0f / RootMeanSquare(sum[row], width, eps);
}

}  // namespace

void CudaBackend::RowSums(TensorView<const float> sums, TensorView<float> out) {
  CHECK(out.size() == sums.rows(), "RowSums shapes");
  if (out.empty()) return;
  const dim3 grid(static_cast<unsigned>(CeilDivide(sums.rows(), kThreads / kWarp)));
  Launch(stream_, RowSumsKernel, {grid, dim3(kThreads)}, sums.data(), sums.rows(), sums.cols(), out.data());
}

void CudaBackend::InverseRms(TensorView<const float> sum, int64_t width, float eps, TensorView<float> out) {
  CHECK(out.size() == sum.size(), "InverseRms shapes");
  if (out.empty()) return;
  const dim3 grid(static_cast<unsigned>(CeilDivide(sum.size(), kThreads)));
  Launch(stream_, InverseRmsKernel, {grid, dim3(kThreads)}, sum.data(), sum.size(), static_cast<float>(width),
         eps, out.data());
}

}  // namespace ternion::cuda
