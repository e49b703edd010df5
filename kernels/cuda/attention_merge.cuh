#pragma once

#include "kernels/cuda/attention_softmax.cuh"
#include "kernels/cuda/attention_tile.cuh"

// The chunks of a context that several thread blocks went through: the block that ends last merges them.
namespace ternion::cuda {

// Whether the tile's other chunks have all stored their results; these are then seen.
__device__ __forceinline__ bool LastToArrive(int32_t* arrivals, int chunks) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    int before;
    asm volatile("atom.add.acq_rel.gpu.global.s32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(arrivals), "r"(1)
                 : "memory");
    last = before == chunks - 1;
    if (last) *arrivals = 0;
  }
  __syncthreads();
  return last;
}

// How a lane's chunk joins those before it.
struct LaneFactors {
  MergeFactors factors;
  float total;  // the chunk's, already multiplied
};

// Of 32 chunks, where `most` is the largest score before the first; then after the last.
__device__ __forceinline__ LaneFactors FactorsOfLanes(const float2& stat, float scale, float& most) {
  float next = fmaxf(most, stat.x);
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const float left = __shfl_up_sync(kAllLanes, next, step);
    if (Lane() >= step) next = fmaxf(next, left);
  }
  const float left = __shfl_up_sync(kAllLanes, next, 1);
  const MergeFactors factors = FactorsOf(Lane() == 0 ? most : left, stat.x, scale);
  most = __shfl_sync(kAllLanes, next, kWarp - 1);
  return {factors, stat.y * factors.now};
}

// A row's chunks, by a warp, in ascending order: some of their sums are on their way at a time. The first
// chunk's record is `first`, the next one's `stride` further.
template <int kDim>
__device__ __forceinline__ void MergeRow(const AttentionArguments& arguments, int64_t first, int64_t stride,
                                         int chunks, float* out) {
  constexpr int kPairs = kDim / (2 * kWarp), kBatch = 16 / kPairs;
  const int dim = arguments.heads.head_dim;
  float most = kMasked, total = 0;
  float2 sums[kPairs] = {};
#pragma unroll 1
  for (int begin = 0; begin < chunks; begin += kWarp) {
    const int count = min(kWarp, chunks - begin);
    float2 stat = {kMasked, 0};
    if (Lane() < count) stat = __ldcg(arguments.record_stats + first + (begin + Lane()) * stride);
    const unsigned seen = __ballot_sync(kAllLanes, stat.x != kMasked);
    const LaneFactors lane = FactorsOfLanes(stat, arguments.scale, most);
    const float* from = arguments.record_sums + (first + begin * stride) * dim + Lane() * 2;
#pragma unroll 1
    for (int batch = 0; batch < count; batch += kBatch) {
      float2 x[kBatch][kPairs];
#pragma unroll
      for (int i = 0; i < kBatch; ++i, from += stride * dim) {
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
          if (batch + i >= count || (j * kWarp + Lane()) * 2 >= dim) continue;
          x[i][j] = __ldcg(reinterpret_cast<const float2*>(from + j * kWarp * 2));
        }
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const float before = __shfl_sync(kAllLanes, lane.factors.before, batch + i);
        const float now = __shfl_sync(kAllLanes, lane.factors.now, batch + i);
        const float chunk_total = __shfl_sync(kAllLanes, lane.total, batch + i);
        if ((seen >> (batch + i) & 1) == 0) continue;
        total = total * before + chunk_total;
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
          sums[j] = {sums[j].x * before + x[i][j].x * now, sums[j].y * before + x[i][j].y * now};
        }
      }
    }
  }
  const float inverse = 1.0f / total;
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const int channel = (j * kWarp + Lane()) * 2;
    if (channel >= dim) continue;
    *reinterpret_cast<float2*>(out + channel) = {sums[j].x * inverse, sums[j].y * inverse};
  }
}

}  // namespace ternion::cuda
