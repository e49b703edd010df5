// Additions, maxima and row factors in place: bound by memory, four elements a thread.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

struct Plus {
  template <typename T>
  __device__ T operator()(T x, T y) const {
    return x + y;
  }
};
struct Larger {
  __device__ float operator()(float x, float y) const { return x < y ? y : x; }
};

// x = combine(x, y).
template <typename Combine, bool kAligned, typename T>
__global__ void CombineInto(const T* y, int64_t size, T* x) {
  StartNext();
  WaitForPrevious();
  const int64_t begin = ElementOfAll();
  if (begin >= size) return;
  Four<T> mine = LoadFour<kAligned>(x + begin, size - begin);
  const Four<T> other = LoadFour<kAligned>(y + begin, size - begin);
#pragma unroll
  for (int i = 0; i < 4; ++i) mine.v[i] = Combine()(mine.v[i], other.v[i]);
  StoreFour<kAligned>(mine, x + begin, size - begin);
}

template <typename Combine, typename T>
void Run(const Stream& stream, TensorView<const T> y, TensorView<T> x) {
  if (x.empty()) return;
  const auto kernel = FoursAligned(x.size(), x.data(), y.data()) ? CombineInto<Combine, true, T>
                                                                 : CombineInto<Combine, false, T>;
  Launch(stream, kernel, AsOneRow(x.size()), y.data(), x.size(), x.data());
}

template <bool kAligned>
__global__ void ScaleRow(const float* factor, int64_t cols, float* x) {
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x, column = ColumnOfRow();
  if (column >= cols) return;
  float* const p = x + row * cols + column;
  const float by = factor[row];
  const Four<float> y = Map(LoadFour<kAligned>(p, cols - column), [by](float value) { return value * by; });
  StoreFour<kAligned>(y, p, cols - column);
}

}  // namespace

void CudaBackend::Add(TensorView<const float> y, TensorView<float> x) {
  CHECK(x.rows() == y.rows() && x.cols() == y.cols(), "Add shapes");
  Run<Plus>(stream_, y, x);
}

void CudaBackend::AddInt32(TensorView<const int32_t> part, TensorView<int32_t> sum) {
  CHECK(sum.rows() == part.rows() && sum.cols() == part.cols(), "AddInt32 shapes");
  Run<Plus>(stream_, part, sum);
}

void CudaBackend::Maximum(TensorView<const float> y, TensorView<float> x) {
  CHECK(x.rows() == y.rows() && x.cols() == y.cols(), "Maximum shapes");
  Run<Larger>(stream_, y, x);
}

void CudaBackend::ScaleRows(TensorView<const float> factor, TensorView<float> x) {
  CHECK(factor.size() == x.rows(), "ScaleRows shapes");
  if (x.empty()) return;
  const auto kernel = FoursAligned(x.cols(), x.data()) ? ScaleRow<true> : ScaleRow<false>;
  Launch(stream_, kernel, ByRows(x.rows(), x.cols()), factor.data(), x.cols(), x.data());
}

}  // namespace ternion::cuda
