#pragma once

#include "kernels/cuda/packed_kv.cuh"
#include "kernels/cuda/rows.cuh"

// A token's key or value in a head to codes, by a warp, and codes into the words where they are kept.
namespace ternion::cuda {

inline constexpr int kMostLaneChannels = 256 / kWarp;

__device__ __forceinline__ float WarpMin(float x) { return -WarpMax(-x); }

// float16 holds no scale above this.
__device__ __forceinline__ float AtMostHalf(float x) {
  constexpr float kMost = 65504;
  return fminf(fmaxf(x, -kMost), kMost);
}
__device__ __forceinline__ __half StepOf(float most, int levels) {
  return __float2half_ru(AtMostHalf(most / static_cast<float>(levels)));
}
// clip(rint(x * factor), low, high)
__device__ __forceinline__ int CodeOf(float x, float factor, int low, int high) {
  return static_cast<int8_t>(ClippedRintByte(x * factor, static_cast<float>(low), static_cast<float>(high)) &
                             0xff);
}

// Lane l has channels l, l + 32, ... of the head in x. Codes, as they are stored, go to codes[channel], scales to
// store_scale(array, scale), which lane 0 calls, and of a long first token the fourth bits of 32 channels to
// store_first_bits(word, bits), likewise.
template <KvFormat kFormat, int kLaneChannels>
__device__ __forceinline__ void QuantizeToken(const float (&x)[kLaneChannels], int dim, bool first,
                                              uint8_t* codes, auto store_scale, auto store_first_bits) {
  using Layout = SideLayout<kFormat>;
  static_assert(!Layout::kGrouped || Layout::kPacking.group == kWarp, "a group is the warp's lanes");
  const int lane = Lane();
  const int bits = first ? Layout::kPacking.first_bits : Layout::kBits;
  float most = 0;
#pragma unroll
  for (int j = 0; j < kLaneChannels; ++j) most = fmaxf(most, fabsf(x[j]));
  const int levels = (1 << (bits - 1)) - 1;
  __half step = StepOf(WarpMax(most), levels);
  if (!Layout::kGrouped && lane == 0) store_scale(0, step);
#pragma unroll
  for (int j = 0; j < kLaneChannels; ++j) {
    if (j * kWarp >= dim) continue;
    const bool here = j * kWarp + lane < dim;
    int code;
    if constexpr (Layout::kGrouped) {
      constexpr int kMostCode = (1 << Layout::kBits) - 1;
      const __half minimum = __float2half_rd(AtMostHalf(WarpMin(here ? x[j] : INFINITY)));
      const float base = __half2float(minimum);
      step = StepOf(WarpMax(here ? x[j] : -INFINITY) - base, kMostCode);
      code = __half2float(step) == 0 ? 0 : CodeOf(x[j] - base, 1 / __half2float(step), 0, kMostCode);
      if (lane == 0) store_scale(2 * j, step), store_scale(2 * j + 1, minimum);
    } else {
      code = __half2float(step) == 0 ? 0 : CodeOf(x[j], 1 / __half2float(step), -levels, levels);
      code += 1 << (bits - 1);
    }
    if (here) codes[j * kWarp + lane] = static_cast<uint8_t>(code);
    if constexpr (Layout::kLongFirst) {
      if (!first) continue;
      const uint32_t fourths = __ballot_sync(kAllLanes, here && (code >> Layout::kBits & 1) != 0);
      if (lane == 0) store_first_bits(j, fourths);
    }
  }
}

// Puts codes of the block's tokens [begin, end) in the place of those that a lane's words of a unit hold. `codes`: of the
// unit's first channel of token 0; a token's next to another's `pitch` further.
template <KvFormat kFormat, KvSide kSide>
__device__ __forceinline__ void ReplaceCodes(const uint8_t* codes, int pitch, int begin, int end, int lane,
                                             LaneWords<SideLayout<kFormat>::kBits>& words) {
#pragma unroll
  for (int i = 0; i < kUnitGroups; ++i) {
#pragma unroll
    for (int r = 0; r < kUnitRegisters; ++r) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const CodePlace place = PlaceOfCode<kSide>(lane, i, r, h);
        if (place.token < begin || place.token >= end) continue;
        const uint32_t code = codes[place.token * pitch + place.channel];
        words.Set(i, r, h, code & ((1u << SideLayout<kFormat>::kBits) - 1));
      }
    }
  }
}

}  // namespace ternion::cuda
