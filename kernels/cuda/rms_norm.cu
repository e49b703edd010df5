// Norms by rows, in two halves (sums of squares, then the quotient) so that a row may be spread over ranks.
// Bound by memory; a row whose quotient is taken has a block of its own, whose first warp adds up the
// segments.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

// Segments of `lanes` times four channels. No segment crosses a row's end, so the matrix is one long row of
// them.
template <bool kAligned>
__global__ void SumSquaresKernel(const float* x, int64_t size, int lanes, float* out) {
  StartNext();
  WaitForPrevious();
  const int64_t begin = ElementOfAll();
  Four<float> mine = {};
  if (begin < size) mine = Squares(LoadFour<kAligned>(x + begin, size - begin));
  const float sum = lanes == 8 ? SegmentOf32(mine) : SegmentOf(mine, lanes);
  if (begin < size && (Lane() & (lanes - 1)) == 0) out[begin / 4 >> (__ffs(lanes) - 1)] = sum;
}

// Segments of one or two channels.
template <int kSegment>
__global__ void SumFewSquares(const float* x, int64_t segments, float* out) {
  StartNext();
  WaitForPrevious();
  const int64_t s = int64_t{blockIdx.x} * kElementThreads + threadIdx.x;
  if (s >= segments) return;
  const float first = x[s * kSegment], last = x[s * kSegment + kSegment - 1];
  out[s] = kSegment == 1 ? first * first : first * first + last * last;
}

struct NormWork {
  const float* x = nullptr;       // [T, n]
  const float* sums = nullptr;    // [T, segments]
  const float* weight = nullptr;  // [n]
  float* y = nullptr;             // [T, n], may be x
  int64_t n = 0;
  int64_t segments = 0;
  float width = 0;
  float eps = 0;
};

template <bool kAligned>
__global__ void __launch_bounds__(kMostThreads) RmsNormKernel(NormWork work) {
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x, n = work.n;
  const float* const x = work.x + row * n;
  float* const y = work.y + row * n;
  int64_t column = int64_t{threadIdx.x} * 4;
  Four<float> mine = {};
  if (column < n) mine = LoadFour<kAligned>(x + column, n - column);  // on its way while the sums are added
  const float sum = BlockSumOfSegments(work.sums + row * work.segments, work.segments);
  const float root = RootMeanSquare(sum, work.width, work.eps);
  while (column < n) {
    const Four<float> weight = LoadFour<kAligned>(work.weight + column, n - column);
    StoreFour<kAligned>(Normalized(mine, root, weight), y + column, n - column);
    column += int64_t{blockDim.x} * 4;
    if (column < n) mine = LoadFour<kAligned>(x + column, n - column);
  }
}

template <bool kAligned>
__global__ void ScaleColumnsKernel(const float* x, const float* weight, int64_t cols, float* y) {
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x, column = ColumnOfRow(), left = cols - column;
  if (left <= 0) return;
  Four<float> mine = LoadFour<kAligned>(x + row * cols + column, left);
  const Four<float> by = LoadFour<kAligned>(weight + column, left);
#pragma unroll
  for (int i = 0; i < 4; ++i) mine.v[i] *= by.v[i];
  StoreFour<kAligned>(mine, y + row * cols + column, left);
}

}  // namespace

void CudaBackend::SumSquares(TensorView<const float> x, int segment, TensorView<float> out) {
  CHECK(segment >= 1 && segment <= 32 && (segment & (segment - 1)) == 0,
        "a segment is a power of two up to 32");
  CHECK(x.rows() == out.rows() && out.cols() * segment == x.cols(), "SumSquares shapes");
  if (x.empty()) return;
  if (segment >= 4) {
    const auto kernel = FoursAligned(x.cols(), x.data()) ? SumSquaresKernel<true> : SumSquaresKernel<false>;
    return Launch(stream_, kernel, AsOneRow(x.size()), x.data(), x.size(), segment / 4, out.data());
  }
  const LaunchShape shape{dim3(static_cast<unsigned>(CeilDivide(out.size(), kElementThreads))),
                          dim3(kElementThreads)};
  Launch(stream_, segment == 1 ? SumFewSquares<1> : SumFewSquares<2>, shape, x.data(), out.size(),
         out.data());
}

void CudaBackend::RmsNorm(TensorView<const float> x, TensorView<const float> sums, int64_t width, float eps,
                          TensorView<const float> weight, TensorView<float> y) {
  CHECK(x.rows() == y.rows() && x.cols() == y.cols(), "RmsNorm shapes");
  CHECK(sums.rows() == x.rows() && weight.size() == x.cols(), "RmsNorm shapes");
  if (x.empty()) return;
  NormWork work;
  work.x = x.data();
  work.sums = sums.data();
  work.weight = weight.data();
  work.y = y.data();
  work.n = x.cols();
  work.segments = sums.cols();
  work.width = static_cast<float>(width);
  work.eps = eps;
  const bool aligned = FoursAligned(x.cols(), x.data(), weight.data(), y.data());
  Launch(stream_, aligned ? RmsNormKernel<true> : RmsNormKernel<false>, ABlockARow(x.rows(), x.cols()), work);
}

void CudaBackend::ScaleColumns(TensorView<const float> x, TensorView<const float> weight,
                               TensorView<float> y) {
  CHECK(x.rows() == y.rows() && x.cols() == y.cols() && weight.size() == x.cols(), "ScaleColumns shapes");
  if (x.empty()) return;
  const bool aligned = FoursAligned(x.cols(), x.data(), weight.data(), y.data());
  Launch(stream_, aligned ? ScaleColumnsKernel<true> : ScaleColumnsKernel<false>, ByRows(x.rows(), x.cols()),
         x.data(), weight.data(), x.cols(), y.data());
}

}  // namespace ternion::cuda
