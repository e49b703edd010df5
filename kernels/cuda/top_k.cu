// The k-th largest magnitude of a row, by a block of its own that reads the row once for each digit (from the
// cache but for the first time), and what lies below it.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/select_kth.cuh"

namespace ternion::cuda {
namespace {

template <bool kAligned>
__global__ void __launch_bounds__(kMostThreads)
    KthMagnitudeKernel(const float* __restrict__ x, int64_t cols, int k, float* threshold) {
  StartNext();
  WaitForPrevious();
  const float* const row = x + int64_t{blockIdx.x} * cols;
  const uint32_t kth = KthLargestBits(k, [&](auto count) {
    for (int64_t column = int64_t{threadIdx.x} * 4; column < cols; column += int64_t{blockDim.x} * 4) {
      const Four<float> mine = LoadFour<kAligned>(row + column, cols - column);
#pragma unroll
      for (int i = 0; i < 4; ++i) count(MagnitudeBits(mine.v[i]));
    }
  });
  if (threadIdx.x == 0) threshold[blockIdx.x] = __uint_as_float(kth);
}

template <bool kAligned>
__global__ void ZeroBelowKernel(const float* threshold, int64_t cols, float* x) {
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x, column = ColumnOfRow(), left = cols - column;
  if (left <= 0) return;
  float* const p = x + row * cols + column;
  const float least = threshold[row];
  const Four<float> y =
      Map(LoadFour<kAligned>(p, left), [least](float value) { return ZeroedBelow(least, value); });
  StoreFour<kAligned>(y, p, left);
}

}  // namespace

void CudaBackend::KthMagnitude(TensorView<const float> x, int64_t k, TensorView<float> threshold) {
  CHECK(threshold.size() == x.rows() && k >= 1 && k <= x.cols(), "KthMagnitude shapes");
  if (x.empty()) return;
  const auto kernel = FoursAligned(x.cols(), x.data()) ? KthMagnitudeKernel<true> : KthMagnitudeKernel<false>;
  Launch(stream_, kernel, ABlockARow(x.rows(), x.cols()), x.data(), x.cols(), static_cast<int>(k),
         threshold.data());
}

void CudaBackend::ZeroBelow(TensorView<const float> threshold, TensorView<float> x) {
  CHECK(threshold.size() == x.rows(), "ZeroBelow shapes");
  if (x.empty()) return;
  const auto kernel = FoursAligned(x.cols(), x.data()) ? ZeroBelowKernel<true> : ZeroBelowKernel<false>;
  Launch(stream_, kernel, ByRows(x.rows(), x.cols()), threshold.data(), x.cols(), x.data());
}

}  // namespace ternion::cuda
