#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ternary_layout.h"

// What the kernels of up to four tokens share: bit planes of activation codes, a tile's sums, launches. Code 4 j + b (j < 8, b < 4) of 32 neighbours is bit 8 b + j of the
// eight plane words, the order of the weights' planes (kernels/cuda/ternary_layout.h).
namespace ternion::cuda {

inline constexpr int kPlanes = 8;
inline constexpr int kPlaneWords = kUnitInputs / 32 * kPlanes;  // of one unit of one token

// Before WaitForPrevious: what earlier kernels may still be writing is looked up, so that the addresses are known on the
// way to it when it is read; what it holds by now does not matter.
__device__ __forceinline__ void FindOperands(const MatmulWork& work) {
  if (threadIdx.x != 0) return;
  const void* const operands[] = {work.codes, work.row_scale, work.y};
#pragma unroll
  for (const void* operand : operands) {
    if (operand != nullptr) asm volatile("prefetch.global.L2 [%0];" ::"l"(operand) : "memory");
  }
}

// Words of four codes each become planes: an 8 x 8 transposition in each of the four bytes.
__device__ __forceinline__ void TransposeBits(uint32_t (&words)[kPlanes]) {
  constexpr uint32_t kMasks[] = {0x55555555u, 0x33333333u, 0x0f0f0f0fu};
#pragma unroll
  for (int level = 0; level < 3; ++level) {
    const int distance = 1 << level;
#pragma unroll
    for (int i = 0; i < kPlanes; ++i) {
      if ((i & distance) != 0) continue;
      const uint32_t swapped = (words[i] >> distance ^ words[i + distance]) & kMasks[level];
      words[i + distance] ^= swapped;
      words[i] ^= swapped << distance;
    }
  }
}

// The place among 32 lanes' words of a unit where lane 4 g + q finds plane g: what is written together, a plane of four
// neighbouring units, then lies in different banks.
__host__ __device__ __forceinline__ int PlanePlace(int unit, int lane) { return lane ^ (unit & 3) << 2; }

// What a lane's share of the binary products is worth: the planes' counts in columns 2 q and 2 q + 1, for output g or
// g + 8. Plane 7 counts negatively.
__host__ __device__ __forceinline__ int WeighPlanes(int even, int odd, int q) {
  const uint32_t pair = static_cast<uint32_t>(even) + static_cast<uint32_t>(odd) * (q == 3 ? -2u : 2u);
  return static_cast<int>(pair << (2 * q));
}

// From the products of a tile's two weight planes, by mma.m16n8k256.b1: lanes 4 g + q with q < 2 get the sum of output
// g + 8 q. The whole warp calls it.
__device__ __forceinline__ int TileSum(const int (&counts)[2][4]) {
  const int q = Lane() % 4;
  int all[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) all[i] = counts[0][i] + 2 * counts[1][i];
  const int low = WeighPlanes(all[0], all[1], q), high = WeighPlanes(all[2], all[3], q);
  // Even lanes go on with output g, odd ones with g + 8.
  int sum = (q & 1) != 0 ? high : low;
  sum += __shfl_xor_sync(kAllLanes, (q & 1) != 0 ? low : high, 1);
  return sum + __shfl_xor_sync(kAllLanes, sum, 2);
}

// Codes input .. input + 3 of a row, zeros beyond its end. Not inlined: it is the rare road of LoadCodes.
inline __device__ __noinline__ uint32_t LoadFew(const int8_t* row, int input, int inputs) {
  uint32_t word = 0;
  for (int b = 0; b < 4 && input + b < inputs; ++b) {
    word |= static_cast<uint32_t>(static_cast<uint8_t>(row[input + b])) << 8 * b;
  }
  return word;
}

// The 32 codes from `begin` on, zeros beyond the row's end.
__device__ __forceinline__ void LoadCodes(const int8_t* row, int begin, int inputs, bool aligned,
                                          uint32_t (&words)[kPlanes]) {
  if (aligned && begin + 32 <= inputs) {
    const uint4* const from = reinterpret_cast<const uint4*>(row + begin);
    const uint4 low = from[0], high = from[1];
    words[0] = low.x, words[1] = low.y, words[2] = low.z, words[3] = low.w;
    words[4] = high.x, words[5] = high.y, words[6] = high.z, words[7] = high.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < kPlanes; ++i) words[i] = LoadFew(row, begin + 4 * i, inputs);
}

// Kernels whose warps divide the inputs among them have at most so many.
inline constexpr int kMostShares = 10;

// Warps among which the units divide evenly; eight where it makes no difference.
inline int WarpsThatShare(int64_t units) {
  int best = 1;
  double best_cost = 1e9;
  for (int warps = 1; warps <= kMostShares && warps <= units; ++warps) {
    // A warp's share of a tile should outweigh its part in the sum.
    if (units >= 8 && units / warps < 2) break;
    const double busy = static_cast<double>(CeilDivide(units, warps) * warps) / static_cast<double>(units);
    const double cost = busy + 0.05 * (warps < 8 ? 8 - warps : warps - 8);
    if (cost < best_cost) best = warps, best_cost = cost;
  }
  return best;
}

// Calls launch(tokens as an integral constant): kernels are compiled for 1 to 4.
template <typename LaunchTokens>
void ForDecodeTokens(int64_t tokens, LaunchTokens launch) {
  switch (tokens) {
    case 1:
      return launch(std::integral_constant<int, 1>());
    case 2:
      return launch(std::integral_constant<int, 2>());
    case 3:
      return launch(std::integral_constant<int, 3>());
    default:
      return launch(std::integral_constant<int, 4>());
  }
}

}  // namespace ternion::cuda
