#pragma once

#include <cuda_pipeline_primitives.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/backend.h"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/select_kth.cuh"

// A row's way from floats to codes within one block: sum of squares, norm, top-K, codes. The block holds the row, four
// channels times kFours a thread, in registers; the norm's weights come to shared memory before the previous kernel is
// done. Where the row comes from is the kernel's business.
namespace ternion::cuda {

inline constexpr int64_t kMeanSegment = 32;

struct RowWork {
  const float* x = nullptr;       // [rows, n]
  const float* weight = nullptr;  // [n]; null: the row is not normalized
  float eps = 0;
  int n = 0;
  int segment = kMeanSegment;  // channels per sum of squares
  int keep = 0;                // top-K; n: all
  bool int4 = false;
  int8_t* codes = nullptr;  // [rows, n]
  float* scales = nullptr;  // [rows]
};

// A thread's channels: four from 4 * Index(v) on for every v; zeros beyond the row's end.
template <int kFours>
struct OwnChannels {
  Four<float> x[kFours];

  static __device__ __forceinline__ int Index(int v) {
    return v * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
  }
};

// The row's Segment sums of term(x), to shared memory.
template <int kFours>
__device__ __forceinline__ void SumSegments(const OwnChannels<kFours>& row, int n, int segment, auto term,
                                            float* sums) {
  const int lanes = segment / 4;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const Four<float> terms = term(row.x[v]);
    const float sum = lanes == 8 ? SegmentOf32(terms) : SegmentOf(terms, lanes);
    const int channel = 4 * row.Index(v);
    // Segments are powers of two.
    if (channel < n && (channel & (segment - 1)) == 0) sums[channel >> (__ffs(segment) - 1)] = sum;
  }
}

template <int kFours>
__device__ __forceinline__ void Normalize(const RowWork& work, const Four<float>* weight, float* sums,
                                          OwnChannels<kFours>& row) {
  SumSegments(
      row, work.n, work.segment, [](const Four<float>& x) { return Squares(x); }, sums);
  const float sum = BlockSumOfSegments(sums, work.n / work.segment);
  const Quotient root(RootMeanSquare(sum, static_cast<float>(work.n), work.eps));
  __pipeline_wait_prior(0);  // each thread reads only the weights that it fetched
  const auto normalize = [&](const auto& by) {
#pragma unroll
    for (int v = 0; v < kFours; ++v) {
      if (row.Index(v) < work.n / 4) row.x[v] = Normalized(row.x[v], by, weight[row.Index(v)]);
    }
  };
  if (__builtin_expect(root.exact(), true)) return normalize(root);
  normalize(root.by());
}

template <int kFours>
__device__ __forceinline__ void KeepLargest(int keep, OwnChannels<kFours>& row) {
  const uint32_t kth = KthLargestBits(keep, [&](auto count) {
#pragma unroll
    for (int v = 0; v < kFours; ++v) {
#pragma unroll
      for (int i = 0; i < 4; ++i) count(MagnitudeBits(row.x[v].v[i]));
    }
  });
  const float least = __uint_as_float(kth);
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    row.x[v] = Map(row.x[v], [least](float value) { return ZeroedBelow(least, value); });
  }
}

template <int kFours>
__device__ __forceinline__ CodeUnit UnitOf(const RowWork& work, float* sums, const OwnChannels<kFours>& row) {
  if (work.int4) {
    SumSegments(
        row, work.n, kMeanSegment, [](const Four<float>& x) { return Magnitudes(x); }, sums);
    return Int4Unit(BlockSumOfSegments(sums, work.n / kMeanSegment) / static_cast<float>(work.n));
  }
  uint32_t most = 0;
#pragma unroll
  for (int v = 0; v < kFours; ++v) most = max(most, MostMagnitude(row.x[v]));
  return Int8Unit(__uint_as_float(BlockMax(most)), kInt8Floor);
}

// The norm's weights on their way to shared memory; Normalize waits for them.
template <int kFours>
__device__ __forceinline__ void FetchWeights(const RowWork& work, Four<float>* weight) {
  if (work.weight == nullptr) return;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const int i = OwnChannels<kFours>::Index(v);
    if (i < work.n / 4) __pipeline_memcpy_async(weight + i, work.weight + 4 * i, sizeof(Four<float>));
  }
  __pipeline_commit();
}

// From the row to the unit of its codes. shared: the weights [n] and the segment sums of the norm if there is one, then the
// segment sums of the magnitudes.
template <int kFours>
__device__ __forceinline__ CodeUnit PrepareRow(const RowWork& work, Four<float>* shared,
                                               OwnChannels<kFours>& row) {
  float* sums = reinterpret_cast<float*>(shared);
  if (work.weight != nullptr) {
    sums += work.n;
    Normalize(work, shared, sums, row);
    sums += work.n / work.segment;  // warps may still add them
  }
  if (work.keep < work.n) KeepLargest(work.keep, row);
  return UnitOf(work, sums, row);
}

inline constexpr int kMostFours = 8;
inline constexpr int64_t kMostChannels = int64_t{4} * kMostFours * kMostThreads;

inline size_t SharedBytes(const RowWork& work) {
  const int of_norm = work.weight == nullptr ? 0 : work.n + work.n / work.segment;
  return static_cast<size_t>(of_norm + (work.int4 ? work.n / kMeanSegment : 0)) * sizeof(float);
}

inline constexpr size_t kStaticBytes = 8 << 10;  // of shared memory, at most, beside SharedBytes

// Whether a block can hold the row; pointers aside.
inline bool RowFitsABlock(const cudaDeviceProp& properties, const RowWork& work) {
  return work.n <= kMostChannels && work.n % 4 == 0 && work.segment % 4 == 0 &&
         reinterpret_cast<uintptr_t>(work.weight) % sizeof(Four<float>) == 0 &&
         SharedBytes(work) + kStaticBytes <= properties.sharedMemPerBlockOptin;
}

// Calls launch(kFours as an integral constant, shape) for rows of this work. Few rows want many threads each; of many
// rows several should fit a multiprocessor at a time.
template <typename LaunchFours>
void ForFoursOfRow(int multiprocessors, int64_t rows, const RowWork& work, LaunchFours launch) {
  const int64_t threads_wanted = rows <= multiprocessors ? kMostThreads : kMostThreads / 4;
  const int64_t fours = work.n / 4;
  const auto call = [&](auto count) {
    LaunchShape shape = ABlockARow(rows, CeilDivide(work.n, count()));
    shape.shared_bytes = SharedBytes(work);
    launch(count, shape);
  };
  if (fours <= threads_wanted) return call(std::integral_constant<int, 1>());
  if (fours <= 2 * threads_wanted) return call(std::integral_constant<int, 2>());
  if (fours <= 4 * threads_wanted) return call(std::integral_constant<int, 4>());
  call(std::integral_constant<int, kMostFours>());
}

}  // namespace ternion::cuda
