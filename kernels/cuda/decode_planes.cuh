#pragma once

#include "kernels/cuda/device.cuh"

// Bit planes of activation codes by exchanges, for TernaryShort. Code 4 i + b (i < 8, b < 4) of 32 neighbours is bit
// 8 b + i of the eight plane words, the order of the weights' planes (kernels/cuda/ternary_layout.h).
//
// Of a unit's 256 inputs a lane holds eight: four from LaneInput on and four that lie kLaneStep further, a word of codes
// each. Four lanes hold 32 neighbours; a few exchanges make the words of eight planes of them, and bring these to the
// lanes whose tensor-core operand they are.
namespace ternion::cuda {

inline constexpr int kLaneStep = 16;

__device__ __forceinline__ int LaneInput(int lane) {
  return 32 * (lane / 16 * 4 + lane % 4) + lane / 4 % 4 * 4;
}

// Words i and i + kDistance, of lanes 4 * kDistance apart, exchange their parts of an 8 x 8 transposition in every byte.
template <int kDistance>
__device__ __forceinline__ uint32_t ExchangeBits(uint32_t word) {
  constexpr uint32_t kLow = kDistance == 1 ? 0x55555555u : 0x33333333u;
  const bool upper = (Lane() & 4 * kDistance) != 0;
  const uint32_t kept = upper ? ~kLow : kLow;
  const uint32_t other = __shfl_xor_sync(kAllLanes, word, 4 * kDistance);
  return (word & kept) | (__funnelshift_l(other, other, upper ? 32 - kDistance : kDistance) & ~kept);
}

// From the lane's words of codes to its share of the planes: lane 4 g + q gets plane g of the unit's inputs 32 q .. and
// 128 + 32 q ... The whole warp calls it.
__device__ __forceinline__ uint2 PlanesOfCodes(uint32_t first, uint32_t second) {
  const uint32_t swapped = (first >> 4 ^ second) & 0x0f0f0f0fu;
  first = ExchangeBits<1>(ExchangeBits<2>(first ^ swapped << 4));
  second = ExchangeBits<1>(ExchangeBits<2>(second ^ swapped));
  const bool upper = Lane() >= 16;
  const uint32_t got = __shfl_xor_sync(kAllLanes, upper ? first : second, 16);
  return upper ? uint2{got, second} : uint2{first, got};
}

}  // namespace ternion::cuda
