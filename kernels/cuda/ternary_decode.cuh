#pragma once

#include "kernels/cuda/device.cuh"

// Bit planes of activation codes, for TernaryDecode. Code 4 j + b (j < 8, b < 4) of 32 neighbours is bit 8 b + j of the
// eight plane words, the order of the weights' planes (kernels/cuda/ternary_layout.h).
namespace ternion::cuda {

inline constexpr int kPlanes = 8;

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

}  // namespace ternion::cuda
