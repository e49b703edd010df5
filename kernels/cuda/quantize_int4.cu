// Q4 of BitNet a4.8: one unit is mean|x| / sqrt(7). A block for each row reads it twice, the second time from
// the cache.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

constexpr int64_t kMeanSegment = 32;
constexpr int kLanes = kMeanSegment / 4;
constexpr int64_t kMostSegments = 12288;  // whose sums are 48 KiB, less would not fit the shared memory

template <bool kAligned>
__global__ void __launch_bounds__(kMostThreads)
    QuantizeInt4Kernel(const float* x, int64_t cols, int8_t* codes, float* scales) {
  extern __shared__ float sums[];  // [cols / 32]
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x, stride = int64_t{blockDim.x} * 4;
  x += row * cols;
  codes += row * cols;
  // Whole warps turn together, since they exchange.
  for (int64_t begin = 0; begin < cols; begin += stride) {
    const int64_t column = begin + int64_t{threadIdx.x} * 4;
    Four<float> mine = {};
    if (column < cols) mine = Magnitudes(LoadFour<kAligned>(x + column, cols - column));
    const float sum = SegmentOf32(mine);
    if (column < cols && Lane() % kLanes == 0) sums[column / kMeanSegment] = sum;
  }
  const float sum = BlockSumOfSegments(sums, cols / kMeanSegment);
  const CodeUnit unit = Int4Unit(sum / static_cast<float>(cols));
  for (int64_t column = int64_t{threadIdx.x} * 4; column < cols; column += stride) {
    const Four<float> mine = LoadFour<kAligned>(x + column, cols - column);
    StoreFour<kAligned>(Codes(mine, unit), codes + column, cols - column);
  }
  if (threadIdx.x == 0) scales[row] = unit.scale;
}

}  // namespace

void CudaBackend::QuantizeInt4(TensorView<const float> x, QuantizedRows out) {
  CHECK(out.codes.rows() == x.rows() && out.codes.cols() == x.cols(), "QuantizeInt4 shapes");
  CHECK(out.scales.size() == x.rows() && x.cols() % kMeanSegment == 0, "QuantizeInt4 shapes");
  const int64_t segments = x.cols() / kMeanSegment;
  CHECK(segments <= kMostSegments, "QuantizeInt4: a row's sums do not fit the shared memory");
  if (x.empty()) return;
  LaunchShape shape = ABlockARow(x.rows(), x.cols());
  shape.shared_bytes = static_cast<size_t>(segments) * sizeof(float);
  const bool aligned = FoursAligned(x.cols(), x.data(), out.codes.data());
  Launch(stream_, aligned ? QuantizeInt4Kernel<true> : QuantizeInt4Kernel<false>, shape, x.data(), x.cols(),
         out.codes.data(), out.scales.data());
}

}  // namespace ternion::cuda
