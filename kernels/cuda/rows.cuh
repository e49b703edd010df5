#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

// What the operations on rows of floats share: four elements a thread, sums by segments, codes.
namespace ternion::cuda {

// Neighbouring elements that move with one access.
template <typename T, int kCount>
struct alignas(kCount * sizeof(T)) Pack {
  T v[kCount];
};
template <typename T>
using Four = Pack<T, 4>;

// Kernels on rows are compiled twice: for rows whose every fourth element is aligned to four elements, and
// for others.
template <typename... T>
bool FoursAligned(int64_t cols, const T*... data) {
  return cols % 4 == 0 && ((reinterpret_cast<uintptr_t>(data) % (4 * sizeof(T)) == 0) && ...);
}

// Up to four elements from p on, of which `left` > 0 exist. The others read as zero and are not written.
template <bool kAligned, typename T>
__device__ __forceinline__ Four<T> LoadFour(const T* p, int64_t left) {
  if constexpr (kAligned) {
    return *reinterpret_cast<const Four<T>*>(p);
  } else {
    Four<T> four = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < left) four.v[i] = p[i];
    }
    return four;
  }
}
template <bool kAligned, typename T>
__device__ __forceinline__ void StoreFour(const Four<T>& four, T* p, int64_t left) {
  if constexpr (kAligned) {
    *reinterpret_cast<Four<T>*>(p) = four;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < left) p[i] = four.v[i];
    }
  }
}

// Elementwise kernels, four elements a thread: either block x takes row x and block y a piece of it, or the
// matrix is taken as one long row, whose pieces are blocks x.
inline constexpr int kElementThreads = 256;
inline constexpr int kElementsPerBlock = 4 * kElementThreads;
inline LaunchShape ByRows(int64_t rows, int64_t cols) {
  return {dim3(static_cast<unsigned>(rows), static_cast<unsigned>(CeilDivide(cols, kElementsPerBlock))),
          dim3(kElementThreads)};
}
inline LaunchShape AsOneRow(int64_t size) {
  return {dim3(static_cast<unsigned>(CeilDivide(size, kElementsPerBlock))), dim3(kElementThreads)};
}
__device__ __forceinline__ int64_t ColumnOfRow() {
  return (int64_t{blockIdx.y} * kElementThreads + threadIdx.x) * 4;
}
__device__ __forceinline__ int64_t ElementOfAll() {
  return (int64_t{blockIdx.x} * kElementThreads + threadIdx.x) * 4;
}

// Kernels with a block for each row, whose threads take four elements each in turn: whole warps.
inline constexpr int kMostThreads = 1024;
inline LaunchShape ABlockARow(int64_t rows, int64_t cols) {
  const int64_t threads = CeilDivide(CeilDivide(cols, 4), kWarp) * kWarp;
  return {dim3(static_cast<unsigned>(rows)),
          dim3(static_cast<unsigned>(std::clamp<int64_t>(threads, kWarp, kMostThreads)))};
}

// The sum of the Segment that this lane and its neighbours hold, four channels each, `lanes` = 1, 2, 4 or 8
// of them; in each of the lanes. All lanes of the warp call it.
__device__ __forceinline__ float SegmentOf(const Four<float>& x, int lanes) {
  float a = x.v[0], b = x.v[1], c = x.v[2], d = x.v[3];
  for (int half = lanes / 2; half > 0; half /= 2) {
    a += __shfl_xor_sync(kAllLanes, a, half);
    b += __shfl_xor_sync(kAllLanes, b, half);
    c += __shfl_xor_sync(kAllLanes, c, half);
    d += __shfl_xor_sync(kAllLanes, d, half);
  }
  return (a + c) + (b + d);
}

// The same for 8 lanes in half the exchanges: of two lanes to be added one goes on with half of the channels,
// the other with the rest.
__device__ __forceinline__ float SegmentOf32(const Four<float>& x) {
  const bool high_pair = (Lane() & 4) != 0, high = (Lane() & 2) != 0;
  const float a = (high_pair ? x.v[2] : x.v[0]) + __shfl_xor_sync(kAllLanes, high_pair ? x.v[0] : x.v[2], 4);
  const float b = (high_pair ? x.v[3] : x.v[1]) + __shfl_xor_sync(kAllLanes, high_pair ? x.v[1] : x.v[3], 4);
  float sum = (high ? b : a) + __shfl_xor_sync(kAllLanes, high ? a : b, 2);
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  // Channel modulo 4 is 0 or 1 in lanes without bit 2, 2 or 3 in the others; bit 1 tells even from odd.
  sum += __shfl_xor_sync(kAllLanes, sum, 4);
  return sum + __shfl_xor_sync(kAllLanes, sum, 2);
}

// A row's segment sums, added up. The order depends on the segment's index alone and is the same everywhere:
// lane l adds segments l, l + 32, l + 64, ... ascending, then the 32 lanes are added by the halving tree. A
// whole warp calls it; every lane has the sum.
__device__ __forceinline__ float SumOfSegments(const float* sums, int64_t segments) {
  float sum = 0;
#pragma unroll 4
  for (int64_t s = Lane(); s < segments; s += kWarp) sum += sums[s];
  return WarpSegmentSum(sum);
}

// So many are added by every warp for itself: that costs less than another barrier.
inline constexpr int64_t kFewSegments = 8 * kWarp;

// SumOfSegments for a whole block. It sees what the block's threads have written to `sums` before.
__device__ __forceinline__ float BlockSumOfSegments(const float* sums, int64_t segments) {
  __shared__ float total;
  __syncthreads();
  if (segments <= kFewSegments) return SumOfSegments(sums, segments);
  if (WarpIndex() == 0) {
    const float sum = SumOfSegments(sums, segments);
    if (Lane() == 0) total = sum;
  }
  __syncthreads();
  return total;
}

__device__ __forceinline__ float RootMeanSquare(float sum, float width, float eps) {
  return sqrtf(sum / width + eps);
}

// x / by for many x, rounded as the division: Markstein's correction twice. That is exact where neither remainders nor
// quotients leave the normal numbers, which a root mean square in this range rules out for all x that matter: none exceeds
// root * sqrt(n), and what is so small that its remainder loses bits makes no code but 0.
class Quotient {
 public:
  __device__ explicit Quotient(float by) : by_(by), inverse_(1.0f / by) {}
  __device__ float by() const { return by_; }
  // Where it is not, divide.
  __device__ bool exact() const { return by_ >= kLeast && by_ <= kMost; }
  __device__ __forceinline__ float Of(float x) const {
    float q = x * inverse_;
#pragma unroll
    for (int i = 0; i < 2; ++i) q = __fmaf_rn(__fmaf_rn(-q, by_, x), inverse_, q);
    return q;
  }

 private:
  static constexpr float kLeast = 1.0f / (1 << 20), kMost = 1ll << 40;
  const float by_;
  const float inverse_;
};

__device__ __forceinline__ Four<float> Map(const Four<float>& x, auto function) {
  return {{function(x.v[0]), function(x.v[1]), function(x.v[2]), function(x.v[3])}};
}
__device__ __forceinline__ Four<float> Squares(const Four<float>& x) {
  return Map(x, [](float value) { return value * value; });
}
__device__ __forceinline__ Four<float> Magnitudes(const Four<float>& x) {
  return Map(x, [](float value) { return fabsf(value); });
}
__device__ __forceinline__ Four<float> Normalized(const Four<float>& x, float root,
                                                  const Four<float>& weight) {
  Four<float> y;
#pragma unroll
  for (int i = 0; i < 4; ++i) y.v[i] = x.v[i] / root * weight.v[i];
  return y;
}

__device__ __forceinline__ Four<float> Normalized(const Four<float>& x, const Quotient& root,
                                                  const Four<float>& weight) {
  Four<float> y;
#pragma unroll
  for (int i = 0; i < 4; ++i) y.v[i] = root.Of(x.v[i]) * weight.v[i];
  return y;
}

// Magnitudes are ordered as their bits; NaN is above all.
__device__ __forceinline__ uint32_t MagnitudeBits(float x) { return __float_as_uint(x) & 0x7fffffffu; }
__device__ __forceinline__ uint32_t MostMagnitude(const Four<float>& x) {
  return max(max(MagnitudeBits(x.v[0]), MagnitudeBits(x.v[1])),
             max(MagnitudeBits(x.v[2]), MagnitudeBits(x.v[3])));
}

// The largest of a block's whole warps, in every thread.
__device__ __forceinline__ uint32_t BlockMax(uint32_t x) {
  __shared__ uint32_t most[kWarp];
  const uint32_t of_warp = __reduce_max_sync(kAllLanes, x);
  if (Lane() == 0) most[WarpIndex()] = of_warp;
  __syncthreads();
  return __reduce_max_sync(kAllLanes, Lane() < static_cast<int>(blockDim.x) / kWarp ? most[Lane()] : 0u);
}

__device__ __forceinline__ float ZeroedBelow(float threshold, float x) {
  return fabsf(x) < threshold ? 0.0f : x;
}

// A row's codes are clip(rint(x * factor), low, high); scale is what a code stands for.
struct CodeUnit {
  float factor;
  float scale;
  float low;
  float high;
};
__device__ __forceinline__ CodeUnit Int8Unit(float absmax, float floor) {
  const float a = absmax < floor ? floor : absmax;
  return {127.0f / a, a / 127.0f, -128, 127};
}
__device__ __forceinline__ CodeUnit Int4Unit(float mean) {
  constexpr float kRoot7 = 2.64575131f, kLeastMean = 1e-5f;
  const float a = mean < kLeastMean ? kLeastMean : mean;
  return {kRoot7 / a, a / kRoot7, -8, 7};
}

// clip(rint(x), low, high) in two's complement in the lowest byte, halves to even, 0 for NaN; what lies above
// it is of no use. Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
__device__ __forceinline__ uint32_t ClippedRintByte(float x, float low, float high) {
  const float number = x == x ? x : 0.0f;
  return __float_as_uint(fminf(fmaxf(number, low), high) + 12582912.0f);
}
__device__ __forceinline__ Four<int8_t> Codes(const Four<float>& x, const CodeUnit& unit) {
  Four<int8_t> codes;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    codes.v[i] = static_cast<int8_t>(ClippedRintByte(x.v[i] * unit.factor, unit.low, unit.high) & 0xff);
  }
  return codes;
}

}  // namespace ternion::cuda
