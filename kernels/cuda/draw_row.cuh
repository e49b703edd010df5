#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/logit_order.cuh"
#include "kernels/cuda/rows.cuh"

// What draws from rows of logits share: a block of kDrawThreads takes a row. Weights exp((logit - max) / temperature) are
// rounded to multiples of 2^-40, so every sum of them is an exact integer and its order does not matter.
namespace ternion::cuda {

inline constexpr int kDrawThreads = 1024;
inline constexpr float kWeightUnits = 1099511627776.0f;  // 2^40

// How a row's logits weigh.
struct Weights {
  float most;
  float temperature;
  uint64_t least;  // what weighs less weighs nothing: it is not drawn

  __device__ Weights(float largest, const SampleRow& how, float min_p)
      : most(largest),
        temperature(how.takes_largest() ? 1.0f : how.temperature),
        least(static_cast<uint64_t>(ceil(static_cast<double>(min_p) * static_cast<double>(kWeightUnits)))) {}
  __device__ __forceinline__ uint64_t Of(float logit) const {
    const uint64_t weight = __float2ull_rn(expf((logit - most) / temperature) * kWeightUnits);
    return weight < least ? 0 : weight;
  }
};

// The sum of a block's whole warps, in every thread.
template <int kThreads>
__device__ __forceinline__ uint64_t BlockSum(uint64_t x) {
  __shared__ uint64_t sums[kThreads / kWarp];
#pragma unroll
  for (int half = kWarp / 2; half > 0; half /= 2) x += __shfl_xor_sync(kAllLanes, x, half);
  __syncthreads();  // the sums of an earlier call have been read
  if (Lane() == 0) sums[WarpIndex()] = x;
  __syncthreads();
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

// All columns of a row.
struct WholeRow {
  const float* logits;
  int n;

  __device__ __forceinline__ float Logit(int i) const { return logits[i]; }
  __device__ __forceinline__ int Column(int i) const { return i; }
};

// Some of them, ascending.
struct ListedRow {
  const Candidate* list;
  int n;

  __device__ __forceinline__ float Logit(int i) const { return list[i].logit; }
  __device__ __forceinline__ int Column(int i) const { return list[i].column; }
};

// The largest logit; kDrawThreads or fewer, whole warps.
template <typename Columns>
__device__ float MostLogit(const Columns& row) {
  uint32_t most = 0;
  for (int i = static_cast<int>(threadIdx.x); i < row.n; i += static_cast<int>(blockDim.x)) {
    most = max(most, OrderOf(row.Logit(i)));
  }
  return LogitOfOrder(BlockMax(most));
}

// What is kept of a row: columns of a higher order than the threshold, and the first `equals` of this order.
struct Threshold {
  uint32_t order = 0;
  int equals = 0;
};

// Sums count(logit) over the columns whose order is at least `order`.
template <typename Columns, typename Count>
__device__ uint64_t SumFrom(const Columns& row, uint32_t order, Count count) {
  uint64_t sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < row.n; i += kDrawThreads) {
    if (OrderOf(row.Logit(i)) >= order) sum += count(row.Logit(i));
  }
  return BlockSum<kDrawThreads>(sum);
}
template <typename Columns, typename Count>
__device__ uint64_t SumAbove(const Columns& row, uint32_t order, Count count) {
  return order == 0xffffffffu ? 0 : SumFrom(row, order + 1, count);
}

// The highest order at which the sum from there on reaches `enough`, bit by bit from the top.
template <typename Columns, typename Count>
__device__ uint32_t OrderThatReaches(const Columns& row, uint64_t enough, Count count) {
  uint32_t order = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const uint32_t bound = order | 1u << bit;
    if (SumFrom(row, bound, count) >= enough) order = bound;
  }
  return order;
}

// The k largest of all columns; 1 <= k <= n.
template <typename Columns>
__device__ Threshold LargestOfAll(const Columns& row, int k) {
  const auto one = [](float) { return uint64_t{1}; };
  Threshold kept;
  kept.order = k == 1 ? OrderOf(MostLogit(row)) : OrderThatReaches(row, static_cast<uint64_t>(k), one);
  kept.equals = k == 1 ? 1 : k - static_cast<int>(SumAbove(row, kept.order, one));
  return kept;
}

// Goes through the kept columns in ascending order, kDrawThreads places at a time, of which a thread has one: calls
// visit(place, whether it is kept) in every thread until it is true; that must be the same in every thread.
template <typename Columns, typename Visit>
__device__ void VisitKept(const Columns& row, const Threshold& kept, Visit visit) {
  __shared__ int equals[kDrawThreads / kWarp];
  int passed = 0;  // columns of the threshold's order
  for (int begin = 0; begin < row.n; begin += kDrawThreads) {
    const int i = begin + static_cast<int>(threadIdx.x);
    const uint32_t order = i < row.n ? OrderOf(row.Logit(i)) : 0;
    const bool equal = i < row.n && order == kept.order;
    const unsigned equal_lanes = __ballot_sync(kAllLanes, equal);
    __syncthreads();  // the last piece's counts have been read
    if (Lane() == 0) equals[WarpIndex()] = __popc(equal_lanes);
    __syncthreads();
    int before = passed + __popc(equal_lanes & ((1u << Lane()) - 1));
    for (int w = 0; w < kDrawThreads / kWarp; ++w) {
      if (w < WarpIndex()) before += equals[w];
      passed += equals[w];
    }
    const bool keep = i < row.n && (order > kept.order || (equal && before < kept.equals));
    if (visit(i, keep)) return;
  }
}

// The sum of x over the block's threads up to this one, and over all of them.
struct RunningSum {
  uint64_t here;
  uint64_t all;
};
template <int kThreads>
__device__ __forceinline__ RunningSum BlockRunningSum(uint64_t x) {
  __shared__ uint64_t sums[kThreads / kWarp];
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const uint64_t below = __shfl_up_sync(kAllLanes, x, step);
    if (Lane() >= step) x += below;
  }
  __syncthreads();  // the sums of an earlier call have been read
  if (Lane() == kWarp - 1) sums[WarpIndex()] = x;
  __syncthreads();
  RunningSum sum = {x, 0};
  for (int w = 0; w < kThreads / kWarp; ++w) {
    if (w < WarpIndex()) sum.here += sums[w];
    sum.all += sums[w];
  }
  return sum;
}

// Where the running sum of numbers, taken in order, exceeds a target; where it does not, what rounding leaves over falls to
// the last number that is not 0. Every thread of a block of kThreads takes part.
template <int kThreads>
class Crossing {
 public:
  __device__ explicit Crossing(uint64_t target) : target_(target) {}

  // The next kThreads numbers, this thread's being number i. True once the target is exceeded.
  __device__ bool Take(int i, uint64_t x) {
    const RunningSum sum = BlockRunningSum<kThreads>(x);
    const uint64_t running = passed_ + sum.here;
    if (x > 0) last_ = i;
    if (x > 0 && running > target_ && running - x <= target_) {
      here_ = i;
      before_here_ = running - x;
    }
    passed_ += sum.all;
    return passed_ > target_;
  }

  struct Found {
    int place;
    uint64_t before;  // the sum in front of it
    bool exceeded;
  };
  __device__ Found Find() const {
    __shared__ int place;
    __shared__ uint64_t before;
    const bool exceeded = passed_ > target_;
    __syncthreads();  // what an earlier call found has been read
    if (threadIdx.x == 0) place = 0;
    __syncthreads();
    if (exceeded && here_ >= 0) {
      place = here_;
      before = before_here_;
    } else if (!exceeded && last_ > 0) {
      atomicMax(&place, last_);
    }
    __syncthreads();
    return {place, exceeded ? before : 0, exceeded};
  }

 private:
  uint64_t target_;
  uint64_t passed_ = 0;
  int here_ = -1;
  uint64_t before_here_ = 0;
  int last_ = 0;
};

}  // namespace ternion::cuda
