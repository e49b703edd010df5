#pragma once

#include "kernels/cuda/packed_kv.cuh"

// Codes into halves. A code in the low bits of the half 1024 makes it 1024 + code, exactly; so does one four bits
// further up, 16 times over. A value is a code times its scale, or its minimum added, rounded once: a code and a scale
// have so few bits that the float32 in between (kernels/kv.h) is exact where it decides the rounding.
namespace ternion::cuda {

// Half pairs.
__device__ __forceinline__ __half2 AsHalves(uint32_t bits) {
  return *reinterpret_cast<const __half2*>(&bits);
}
__device__ __forceinline__ uint32_t BitsOf(__half2 halves) {
  return *reinterpret_cast<const uint32_t*>(&halves);
}
__device__ __forceinline__ __half2 Twice(__half x) { return __half2half2(x); }

// A lane's signed codes of a unit as halves: pair 4 i + r.
using UnitCodes = __half2[kUnitGroups * kUnitRegisters];
// Of a lane's eight keys, twice the same each, or eight pairs of tokens of values. `minimums` of grouped formats.
struct UnitScales {
  __half2 steps[8];
  __half2 minimums[8];
};

// (word & kMask) | the pair 1024, by one instruction: so it must not know that number.
template <uint32_t kMask>
__device__ __forceinline__ __half2 Masked(uint32_t word, uint32_t magic) {
  uint32_t bits;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(bits) : "r"(word), "n"(kMask), "r"(magic));
  return AsHalves(bits);
}
__device__ __forceinline__ uint32_t Magic() {
  uint32_t magic;
  asm("mov.b32 %0, 0x64006400;" : "=r"(magic));
  return magic;
}

// A word's codes of kBits bits in four bits each, less kOffset: r = 0 to 3 of a group.
template <int kBits, int kOffset>
__device__ __forceinline__ void UnpackNibbles(uint32_t word, uint32_t magic, __half2* codes) {
  constexpr uint32_t kLow = ((1u << kBits) - 1) * 0x00010001u;
  const __half2 sixteenth = __float2half2_rn(1.0f / 16);
  const __half2 low = __float2half2_rn(-(1024.0f + kOffset)), high = __float2half2_rn(-(64.0f + kOffset));
#pragma unroll
  for (int r = 0; r < 4; r += 2) {
    codes[r] = __hadd2_rn(Masked<kLow>(word, magic), low);
    codes[r + 1] = __hfma2(Masked<kLow << 4>(word, magic), sixteenth, high);
    word >>= 8;
  }
}

template <KvFormat kFormat>
__device__ __forceinline__ void Unpack(const LaneWords<SideLayout<kFormat>::kBits>& words, UnitCodes& codes) {
  constexpr int kBits = SideLayout<kFormat>::kBits, kOffset = SideLayout<kFormat>::kOffset;
  const uint32_t(&w)[kBits] = words.w;
  const uint32_t magic = Magic();
  if constexpr (kBits == 8) {
    const __half2 offset = __float2half2_rn(-(1024.0f + kOffset));
#pragma unroll
    for (int i = 0; i < 2 * kBits; ++i) {
      codes[i] = __hadd2_rn(Masked<0x00ff00ffu>(w[i / 2] >> i % 2 * 8, magic), offset);
    }
  } else {
    constexpr int kWhole = kBits == 4 ? 4 : 3;
#pragma unroll
    for (int i = 0; i < kWhole; ++i) UnpackNibbles<kBits, kOffset>(w[i], magic, codes + 4 * i);
    if constexpr (kBits == 3) {
      const uint32_t last = (w[0] >> 3 & 0x11111111u) | (w[1] >> 2 & 0x22222222u) | (w[2] >> 1 & 0x44444444u);
      UnpackNibbles<kBits, kOffset>(last, magic, codes + 12);
    }
  }
}

// Makes codes of 4 bits of position 0's: `bits` are the fourth ones of the unit's channels. Position 0 is the first
// token of the unit. What was taken for c - 4 is c + 8 * bit - 8.
template <KvSide kSide>
__device__ __forceinline__ void LengthenFirst(uint32_t bits, UnitCodes& codes) {
  const int g = Lane() / 4, q = Lane() % 4;
  constexpr uint32_t kFour = 0x4400, kMinusFour = 0xc400;
  const auto change = [&](int channel) { return (bits >> channel & 1) != 0 ? kFour : kMinusFour; };
  if constexpr (kSide == KvSide::kKeys) {
    if (g != 0) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int channel = 8 * r + 2 * q;
      codes[r] = __hadd2_rn(codes[r], AsHalves(change(channel) | change(channel + 1) << 16));
    }
  } else {
    if (q != 0) return;
#pragma unroll
    for (int r = 0; r < 4; r += 2) codes[r] = __hadd2_rn(codes[r], AsHalves(change(8 * (r / 2) + g)));
  }
}

template <KvSide kSide>
__device__ __forceinline__ void LoadScaleArray(const char* array, __half2 (&scales)[8]) {
  const auto* const units = reinterpret_cast<const uint4*>(array);
  if constexpr (kSide == KvSide::kKeys) {
    const uint4 four = units[Lane() / 4];
    const uint32_t pairs[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const __half2 pair = AsHalves(pairs[n / 2]);
      scales[n] = n % 2 == 0 ? __low2half2(pair) : __high2half2(pair);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint4 four = units[Lane() % 4 * 2 + i];
      scales[4 * i] = AsHalves(four.x), scales[4 * i + 1] = AsHalves(four.y);
      scales[4 * i + 2] = AsHalves(four.z), scales[4 * i + 3] = AsHalves(four.w);
    }
  }
}

// A side's scales of its unit `unit`.
template <KvFormat kFormat, KvSide kSide>
__device__ __forceinline__ void LoadScales(const char* side, int dim, int unit, UnitScales& scales) {
  using Layout = SideLayout<kFormat>;
  const char* array = side + Layout::Scales(dim);
  if constexpr (Layout::kGrouped)
    array += unit * kUnitChannels / Layout::kPacking.group * 2 * Layout::kScaleBytes;
  LoadScaleArray<kSide>(array, scales.steps);
  if constexpr (Layout::kGrouped) LoadScaleArray<kSide>(array + Layout::kScaleBytes, scales.minimums);
}

// Register r of group i of the right operands.
template <KvFormat kFormat, KvSide kSide>
__device__ __forceinline__ uint32_t ValueOf(const UnitCodes& codes, const UnitScales& scales, int i, int r) {
  const int scale = 2 * i + (kSide == KvSide::kKeys ? r / 2 : r % 2);
  const __half2 code = codes[kUnitRegisters * i + r];
  if constexpr (SideLayout<kFormat>::kGrouped) {
    return BitsOf(__hfma2(code, scales.steps[scale], scales.minimums[scale]));
  } else {
    return BitsOf(__hmul2_rn(code, scales.steps[scale]));
  }
}

// The codes of a side's unit `unit`; kFirst: the block is a sequence's first, whose first token may be long.
template <KvFormat kFormat, KvSide kSide, bool kFirst>
__device__ __forceinline__ void LoadCodes(const char* side, int dim, int unit, UnitCodes& codes) {
  using Layout = SideLayout<kFormat>;
  LaneWords<Layout::kBits> words;
  words.Load(side + unit * Layout::kUnitBytes, Lane());
  Unpack<kFormat>(words, codes);
  if constexpr (Layout::kLongFirst && kFirst) {
    const auto* const bits = reinterpret_cast<const uint16_t*>(side + Layout::FirstBits(dim));
    LengthenFirst<kSide>(bits[unit], codes);
  }
}

}  // namespace ternion::cuda
