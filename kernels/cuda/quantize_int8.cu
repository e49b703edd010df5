// Q8: a row's absmax by a block of its own, then its codes, four channels a thread. Bound by memory.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

template <bool kAligned>
__global__ void __launch_bounds__(kMostThreads) RowAbsMaxKernel(const float* x, int64_t cols, float* out) {
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x;
  uint32_t most = 0;
#pragma unroll 4
  for (int64_t column = int64_t{threadIdx.x} * 4; column < cols; column += int64_t{blockDim.x} * 4) {
    most = max(most, MostMagnitude(LoadFour<kAligned>(x + row * cols + column, cols - column)));
  }
  most = BlockMax(most);
  if (threadIdx.x == 0) out[row] = __uint_as_float(most);
}

template <bool kAligned>
__global__ void QuantizeInt8Kernel(const float* x, const float* absmax, float floor, int64_t cols,
                                   int8_t* codes, float* scales) {
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x, column = ColumnOfRow(), left = cols - column;
  if (left <= 0) return;
  const Four<float> mine = LoadFour<kAligned>(x + row * cols + column, left);
  const CodeUnit unit = Int8Unit(absmax[row], floor);
  StoreFour<kAligned>(Codes(mine, unit), codes + row * cols + column, left);
  if (column == 0) scales[row] = unit.scale;
}

}  // namespace

void CudaBackend::RowAbsMax(TensorView<const float> x, TensorView<float> out) {
  CHECK(out.size() == x.rows(), "RowAbsMax shapes");
  if (out.empty()) return;
  const auto kernel = FoursAligned(x.cols(), x.data()) ? RowAbsMaxKernel<true> : RowAbsMaxKernel<false>;
  Launch(stream_, kernel, ABlockARow(x.rows(), x.cols()), x.data(), x.cols(), out.data());
}

void CudaBackend::QuantizeInt8(TensorView<const float> x, TensorView<const float> absmax, float floor,
                               QuantizedRows out) {
  CHECK(out.codes.rows() == x.rows() && out.codes.cols() == x.cols(), "QuantizeInt8 shapes");
  CHECK(absmax.size() == x.rows() && out.scales.size() == x.rows(), "QuantizeInt8 shapes");
  if (x.empty()) return;
  const bool aligned = FoursAligned(x.cols(), x.data(), out.codes.data());
  Launch(stream_, aligned ? QuantizeInt8Kernel<true> : QuantizeInt8Kernel<false>, ByRows(x.rows(), x.cols()),
         x.data(), absmax.data(), floor, x.cols(), out.codes.data(), out.scales.data());
}

}  // namespace ternion::cuda
