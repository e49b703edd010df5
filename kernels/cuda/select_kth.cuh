#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"

// The k-th largest magnitude of a block's row: radix selection on the bits, the highest first. A pass counts
// the digits of the numbers that agree with what is known so far; counts are integers, so their order does
// not matter.
namespace ternion::cuda {

inline constexpr int kDigitPasses = 4;  // of 8, 8, 8 and 7 bits
inline constexpr int kDigits = 256;

struct DigitCounts {
  int count[kDigitPasses][kDigits];
};

struct ChosenDigit {
  int digit;
  int k;      // the number sought is the k-th largest of those with this digit
  int count;  // of these
};

inline constexpr int kLaneDigits = kDigits / kWarp;

// The digit of the k-th largest of all counted. Every warp finds it for itself; count: of the digits from
// kLaneDigits * Lane() on.
__device__ __forceinline__ ChosenDigit ChooseDigit(const int (&count)[kLaneDigits], int k) {
  int from_digit[kLaneDigits];  // of this lane's digits from this one on
  from_digit[kLaneDigits - 1] = count[kLaneDigits - 1];
#pragma unroll
  for (int i = kLaneDigits - 2; i >= 0; --i) from_digit[i] = from_digit[i + 1] + count[i];
  const int own = from_digit[0];
  int from_here = own;  // in this lane's digits and all above
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const int above = __shfl_down_sync(kAllLanes, from_here, step);
    if (Lane() + step < kWarp) from_here += above;
  }
  const int lane = kWarp - 1 - __clz(static_cast<int>(__ballot_sync(kAllLanes, from_here >= k)));
  const int all_above = from_here - own;
  int digit = 0, above = all_above, not_below = from_here;
#pragma unroll
  for (int i = 1; i < kLaneDigits; ++i) {
    const int from = all_above + from_digit[i];
    digit += from >= k;
    above = max(above, from < k ? from : 0);
    not_below = min(not_below, from >= k ? from : not_below);
  }
  return {kLaneDigits * lane + __shfl_sync(kAllLanes, digit, lane), k - __shfl_sync(kAllLanes, above, lane),
          __shfl_sync(kAllLanes, not_below - above, lane)};
}

// The bits of the k-th largest, in every thread. for_each(f) calls f with the MagnitudeBits of each of this
// thread's elements; all threads of the block, whole warps, take part. Zeros beyond the row's end change
// nothing.
template <typename ForEach>
__device__ __forceinline__ uint32_t KthLargestBits(int k, ForEach for_each) {
  __shared__ DigitCounts counts;
  int* const all = &counts.count[0][0];
  for (int i = static_cast<int>(threadIdx.x); i < kDigitPasses * kDigits; i += static_cast<int>(blockDim.x))
    all[i] = 0;
  __syncthreads();
  uint32_t known = 0;
  int known_from = 31;  // the bits from this one on are known
#pragma unroll 1
  for (int pass = 0; pass < kDigitPasses; ++pass) {
    const int shift = max(known_from - 8, 0);
    const uint32_t mask = (1u << (known_from - shift)) - 1;
    for_each([&](uint32_t bits) {
      if (bits >> known_from == known) atomicAdd(&counts.count[pass][bits >> shift & mask], 1);
    });
    __syncthreads();
    int own[kLaneDigits];
#pragma unroll
    for (int i = 0; i < kLaneDigits; ++i) own[i] = counts.count[pass][kLaneDigits * Lane() + i];
    const ChosenDigit chosen = ChooseDigit(own, k);
    known = known << (known_from - shift) | static_cast<uint32_t>(chosen.digit);
    known_from = shift;
    k = chosen.k;
  }
  return known;
}

}  // namespace ternion::cuda
