// Rotary embedding in place, by the caller's table: bound by memory. A thread turns four pairs, or one where
// rows or heads are not aligned. Positions are read on the device, so that a recorded step turns by the
// step's own.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

constexpr int kRopeThreads = 128;

struct RopeWork {
  float* x = nullptr;  // the first head of the first row
  int64_t stride = 0;
  int pairs = 0;  // of a row: heads * half
  int half = 0;
  const float* cos_sin = nullptr;         // [positions, 2, half]
  const int32_t* row_position = nullptr;  // -1: the row is left alone
};

template <int kPairs>
__global__ void Rotate(RopeWork work) {
  using Values = Pack<float, kPairs>;
  StartNext();
  const int64_t row = blockIdx.x, position = work.row_position[row];
  const int pair = static_cast<int>(blockIdx.y * kRopeThreads + threadIdx.x) * kPairs;
  if (position < 0 || pair >= work.pairs) return;
  const int head = pair / work.half, i = pair % work.half;
  auto* const low = reinterpret_cast<Values*>(work.x + row * work.stride + 2 * head * work.half + i);
  auto* const high = reinterpret_cast<Values*>(work.x + row * work.stride + (2 * head + 1) * work.half + i);
  const float* const angles = work.cos_sin + position * 2 * work.half + i;
  const Values cos = *reinterpret_cast<const Values*>(angles);
  const Values sin = *reinterpret_cast<const Values*>(angles + work.half);
  WaitForPrevious();
  const Values left = *low, right = *high;
  Values a, b;
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    a.v[j] = left.v[j] * cos.v[j] - right.v[j] * sin.v[j];
    b.v[j] = right.v[j] * cos.v[j] + left.v[j] * sin.v[j];
  }
  *low = a;
  *high = b;
}

template <int kPairs>
void LaunchRotate(const Stream& stream, int64_t rows, const RopeWork& work) {
  const dim3 grid(static_cast<unsigned>(rows),
                  static_cast<unsigned>(CeilDivide(work.pairs, int64_t{kRopeThreads} * kPairs)));
  Launch(stream, Rotate<kPairs>, {grid, dim3(kRopeThreads)}, work);
}

}  // namespace

void CudaBackend::Rope(TensorView<float> x, int64_t column, int heads, int head_dim,
                       TensorView<const float> cos_sin, const KvSlices& slices) {
  CHECK(head_dim % 2 == 0 && cos_sin.cols() == head_dim, "Rope shapes");
  CHECK(column >= 0 && column + int64_t{heads} * head_dim <= x.cols(), "Rope: the heads lie outside the row");
  for (const KvSlice& slice : slices.host) {
    CHECK(slice.row_begin >= 0 && slice.row_begin + slice.rows <= x.rows(), "Rope: a slice outside the step");
    CHECK(slice.position >= 0 && slice.position + slice.rows <= cos_sin.rows(),
          "Rope: a position has no angle");
  }
  RopeWork work;
  work.x = x.data() + column;
  work.stride = x.cols();
  work.half = head_dim / 2;
  work.pairs = heads * work.half;
  work.cos_sin = cos_sin.data();
  work.row_position = slices_.device().row_position;
  const int64_t rows = std::min(x.rows(), slices_.device().rows);
  if (rows == 0 || work.pairs == 0) return;
  const bool aligned = FoursAligned(work.half, work.x, work.cos_sin) && work.stride % 4 == 0;
  aligned ? LaunchRotate<4>(stream_, rows, work) : LaunchRotate<1>(stream_, rows, work);
}

}  // namespace ternion::cuda
