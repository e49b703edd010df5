#pragma once

#include <cuda_fp16.h>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ternary_mma.cuh"
#include "kernels/cuda/uniform_layout.h"

// What the uniform matmuls are made of: multiplications of 16 outputs by 32 inputs, the inputs' high and low bytes in two
// neighbouring columns, and the float operations after a segment's, in the order of docs/numerics.md.
//
// Codes are masked where they lie in their byte, so that a segment's integers are 2^shift times as large; its step is as much
// smaller, which changes no bit of the product.
namespace ternion::cuda {

// Lane(), of an unsigned remainder: the compiler then makes shifts of divisions.
__device__ __forceinline__ int LaneIndex() { return static_cast<int>(threadIdx.x % unsigned{kWarp}); }

inline constexpr int kUnitFields = static_cast<int>(kUnitSegments);
inline constexpr int kParts = static_cast<int>(kUniformParts);

struct UniformArguments {
  const uint8_t* tiles;
  int64_t tile_bytes;
  int64_t groups_bytes;
  int64_t outputs;
  int tile_count;
  int units;
  int segments;          // that exist
  uint32_t group_share;  // 2^32 / segments of a group, rounded up; 0 where it is one
  const float* x;        // [tokens, segments * segment]
  int64_t tokens;
  const float* bias;  // [outputs], or null
  bool add;
  float* y;  // [tokens, outputs]

  // Of a segment; beyond the last one its group.
  __device__ __forceinline__ int GroupOf(int segment) const {
    const int existing = min(segment, segments - 1);
    return group_share == 0 ? existing : static_cast<int>(__umulhi(existing, group_share));
  }
  __device__ __forceinline__ int PartBegin(int part) const { return part * units / kParts; }
};

// How far codes of segment f are shifted to the left in their byte.
template <int kBits>
__host__ __device__ constexpr int FieldShift(int f) {
  return kBits == 2 ? 2 * f : kBits == 4 ? 4 * (f % 2) : 0;
}

// Scales and zeros of outputs g and g + 8 as they lie in memory.
template <bool kHalfScales>
struct GroupPair {
  uint2 words;
  __device__ __forceinline__ uint32_t word(int i) const { return i == 0 ? words.x : words.y; }
  __device__ __forceinline__ float scale(int i) const {
    return __half2float(__ushort_as_half(static_cast<uint16_t>(word(i) & 0xffff)));
  }
  __device__ __forceinline__ int zero(int i) const { return static_cast<int>(word(i) >> 16); }
};
template <>
struct GroupPair<false> {
  uint4 words;
  __device__ __forceinline__ float scale(int i) const { return __uint_as_float(i == 0 ? words.x : words.z); }
  __device__ __forceinline__ int zero(int i) const { return static_cast<int>(i == 0 ? words.y : words.w); }
};

// Those of a lane; `tile` is the tile's first byte, or its groups' in shared memory.
template <bool kHalfScales>
__device__ __forceinline__ GroupPair<kHalfScales> LoadGroup(const uint8_t* tile, int group) {
  return reinterpret_cast<const GroupPair<kHalfScales>*>(tile)[group * 8 + LaneIndex() / 4];
}

// A lane's share of a unit of codes.
template <int kBits, int kSegment>
struct LaneCodes {
  static constexpr int kSteps = kSegment / kStepInputs;
  static constexpr int kShares = kBits == 4 ? 2 : kSteps;
  static constexpr int kBytes = kBits * kSegment * kUnitFields * kUniformTile / 8;
  static_assert(kBits != 4 || kSteps == 1);

  uint4 shares[kShares];
  uint2 thirds[kBits == 3 ? kSteps : 1];

  // `unit`: its first byte.
  __device__ __forceinline__ void Load(const uint8_t* unit) {
    const uint4* const from = reinterpret_cast<const uint4*>(unit);
#pragma unroll
    for (int i = 0; i < kShares; ++i) shares[i] = from[i * kWarp + LaneIndex()];
    if constexpr (kBits == 3) {
      const uint2* const last = reinterpret_cast<const uint2*>(from + kShares * kWarp);
#pragma unroll
      for (int i = 0; i < kSteps; ++i) thirds[i] = last[LaneIndex() * kSteps + i];
    }
  }

  // The operand of a step of segment f.
  __device__ __forceinline__ void Operand(int f, int step, uint32_t (&a)[4]) const {
    const uint4& share = shares[kBits == 4 ? f / 2 : step];
    const uint32_t words[4] = {share.x, share.y, share.z, share.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if constexpr (kBits == 2) a[j] = words[j] & 0x03030303u << FieldShift<2>(f);
      if constexpr (kBits == 4) a[j] = words[j] & 0x0f0f0f0fu << FieldShift<4>(f);
      if constexpr (kBits == 3) {
        const uint32_t third = j / 2 == 0 ? thirds[step].x : thirds[step].y;
        a[j] = (words[j] >> 2 * f & 0x03030303u) | (third >> (j % 2 * 4 + f) & 0x01010101u) << 2;
      }
    }
  }
};

// A tile's unit in shared memory, with the groups of its four segments.
template <int kBits, bool kHalfScales, int kSegment>
struct alignas(128) UnitStage {
  uint8_t codes[LaneCodes<kBits, kSegment>::kBytes];
  GroupPair<kHalfScales> groups[kUnitFields][8];

  // Starts the warp's copies of a unit; they belong to the lanes' current group. `lane_codes` is this lane's 16 bytes of the
  // unit's first 512, `lane_group` its 16 bytes of the groups (GroupOffset).
  __device__ __forceinline__ void Start(const uint8_t* lane_codes, const uint8_t* lane_group) {
    constexpr int kBytes = sizeof(codes), kRound = kWarp * kPiece;
    const uint32_t to = SharedAddress(codes) + LaneIndex() * kPiece;
#pragma unroll
    for (int i = 0; i < kBytes; i += kRound) {
      if (i + kRound <= kBytes || i + LaneIndex() * kPiece < kBytes) CopyUnit(to + i, lane_codes + i);
    }
    if (LaneIndex() < kUnitFields * kGroupPieces)
      CopyUnit(SharedAddress(groups) + LaneIndex() * kPiece, lane_group);
  }
  // From the tile's first byte to what the lane copies of the groups.
  __device__ __forceinline__ static int GroupOffset(const UniformArguments& arguments, int unit) {
    const int group = arguments.GroupOf(unit * kUnitFields + LaneIndex() / kGroupPieces);
    return (group * kGroupPieces + LaneIndex() % kGroupPieces) * kPiece;
  }
  __device__ __forceinline__ static const uint8_t* LaneCodesOf(const UniformArguments& arguments,
                                                               const uint8_t* tile, int unit) {
    return tile + arguments.groups_bytes + int64_t{unit} * sizeof(codes) + LaneIndex() * kPiece;
  }

 private:
  static constexpr int kPiece = 16, kGroupPieces = sizeof(GroupPair<kHalfScales>[8]) / kPiece;
};

// Of a token's segment, both shifted: what an integer counts, and the integers' sum, negated.
struct SegmentFactors {
  float step;
  int minus_sum;
};

// What a segment adds to an output's sum, from the sums of its high and low bytes.
__device__ __forceinline__ float SegmentTerm(int high, int low, int zero, float scale,
                                             SegmentFactors factors) {
  const int exact = high * 256 + low + zero * factors.minus_sum;
  return static_cast<float>(exact) * factors.step * scale;
}

// Bytes `byte` of four words.
template <int kByte>
__device__ __forceinline__ uint32_t Bytes(const uint32_t (&x)[4]) {
  constexpr uint32_t kPair = kByte | (4 + kByte) << 4;
  return __byte_perm(__byte_perm(x[0], x[1], kPair), __byte_perm(x[2], x[3], kPair), 0x5410);
}

// A lane's share of a unit's inputs: eight neighbouring lanes have a segment, and each of it 4 neighbouring channels (or 8).
template <int kSegment>
struct RoundedShare {
  static constexpr int kWords = kSegment / kStepInputs;
  uint32_t high[kWords];
  uint32_t low[kWords];
  SegmentFactors factors;
};

// A lane's share of a unit of a row before that. Segments that do not exist are zeros.
template <int kSegment>
struct FloatShare {
  static constexpr int kWords = kSegment / kStepInputs;
  float4 x[kWords];

  // `row`: of existing segments.
  __device__ __forceinline__ void Load(const float* row, int existing, int unit) {
    const int segment = unit * kUnitFields + LaneIndex() / 8;
    const float4* const from =
        reinterpret_cast<const float4*>(row + (segment * 8 + LaneIndex() % 8) * kWords * 4);
#pragma unroll
    for (int i = 0; i < kWords; ++i) x[i] = segment < existing ? from[i] : float4{0, 0, 0, 0};
  }
};

// kInputMost / bound as the division gives it. Scaled so that nothing on the way is too small or too large: two corrections
// of a quotient by its remainder round it as the hardware's own sequence does.
__device__ __forceinline__ float InputFactor(float bound) {
  constexpr float kScale = 0x1p-10f, kDividend = static_cast<float>(kInputMost) * kScale;
  const float divisor = bound * kScale;
  float inverse = 0;
  asm("rcp.approx.f32 %0, %1;" : "=f"(inverse) : "f"(divisor));
  inverse = __fmaf_rn(__fmaf_rn(-divisor, inverse, 1.0f), inverse, inverse);
  float quotient = kDividend * inverse;
  quotient = __fmaf_rn(__fmaf_rn(-divisor, quotient, kDividend), inverse, quotient);
  return __fmaf_rn(__fmaf_rn(-divisor, quotient, kDividend), inverse, quotient);
}

// bound / kInputMost likewise.
__device__ __forceinline__ float InputStep(float bound) {
  constexpr float kDivisor = static_cast<float>(kInputMost), kInverse = 1.0f / kDivisor;
  const float quotient = bound * kInverse;
  return __fmaf_rn(__fmaf_rn(-kDivisor, quotient, bound), kInverse, quotient);
}

// The greater, or NaN where one of them is.
__device__ __forceinline__ float MostOrNan(float a, float b) {
  float most;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(most) : "f"(a), "f"(b));
  return most;
}

// Rounds a unit of a row (docs/numerics.md); all lanes of the warp call it. Where an input is not finite the integers mean
// nothing and the step is NaN.
template <int kBits, int kSegment>
__device__ __forceinline__ RoundedShare<kSegment> RoundShare(const FloatShare<kSegment>& share) {
  constexpr int kWords = RoundedShare<kSegment>::kWords;
  const float4(&x)[kWords] = share.x;
  float most = 0;
#pragma unroll
  for (const float4& four : x) {
    const float of_four =
        MostOrNan(MostOrNan(fabsf(four.x), fabsf(four.y)), MostOrNan(fabsf(four.z), fabsf(four.w)));
    most = MostOrNan(most, of_four);
  }
#pragma unroll
  for (int apart = 4; apart > 0; apart /= 2) most = MostOrNan(most, __shfl_xor_sync(kAllLanes, most, apart));
  const float bound = most < kInputFloor ? kInputFloor : most;
  const float factor = InputFactor(bound);
  // Adding 1.5 * 2^23 + 128 leaves the nearest integer and 128 in the low bits: the second byte is the high one, the lowest
  // but for its uppermost bit the low one.
  constexpr float kRound = 12582912.0f + 128.0f;
  RoundedShare<kSegment> rounded;
  uint32_t sum = 0;
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    const float channels[4] = {x[i].x, x[i].y, x[i].z, x[i].w};
    uint32_t codes[4];
#pragma unroll
    for (int c = 0; c < 4; ++c) codes[c] = __float_as_uint(channels[c] * factor + kRound);
    sum += (codes[0] + codes[1]) + (codes[2] + codes[3]) - 4 * __float_as_uint(kRound);
    rounded.high[i] = Bytes<1>(codes);
    rounded.low[i] = Bytes<0>(codes) ^ 0x80808080u;
  }
#pragma unroll
  for (int apart = 4; apart > 0; apart /= 2) sum += __shfl_xor_sync(kAllLanes, sum, apart);
  const float step = InputStep(bound) + (bound - bound);
  const int shift = FieldShift<kBits>(LaneIndex() / 8);
  rounded.factors = {step * __int_as_float((127 - shift) << 23), -static_cast<int>(sum << shift)};
  return rounded;
}

// The lane of a segment's operand that has column `column` and the share's channels; where in the lane's uint2 steps they lie.
template <int kSegment>
__device__ __forceinline__ void StoreColumn(const uint32_t (&words)[RoundedShare<kSegment>::kWords],
                                            int column, uint32_t* operand) {
  const int share = LaneIndex() % 8;
  if constexpr (kSegment == kStepInputs) {
    operand[(column * 4 + share / 2) * 2 + share % 2] = words[0];
  } else {
    *reinterpret_cast<uint2*>(operand + (column * 4 + share % 4) * 4 + share / 4 * 2) = {words[0], words[1]};
  }
}

// A lane's operand of a segment's steps.
template <int kSegment>
struct alignas(kSegment / 4) LaneInputs {
  uint2 steps[kSegment / kStepInputs];
};

// A unit of the inputs of one, two or four tokens, as the multiplications take them. Eight columns are four tokens of one
// segment, two of two or one of four: column pair c of set s, high and low bytes, is segment s * kSegments + c / kTokens of
// token c % kTokens.
template <int kSegment, int kTokens>
struct UnitInputs {
  static constexpr int kSegments = 4 / kTokens;  // of a set
  static constexpr int kSets = kTokens;

  LaneInputs<kSegment> operands[kSets][kWarp];
  SegmentFactors factors[kSets][4];  // of a column pair
};

// A lane's share of a unit of kTokens tokens from `first` on.
template <int kSegment, int kTokens>
struct FloatUnit {
  FloatShare<kSegment> shares[kTokens];

  __device__ __forceinline__ void Load(const UniformArguments& arguments, int64_t first, int unit) {
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const int existing = first + t < arguments.tokens ? arguments.segments : 0;
      shares[t].Load(arguments.x + (first + t) * arguments.segments * kSegment, existing, unit);
    }
  }
};

// The same, rounded: all lanes of the warp make it and store it.
template <int kBits, int kSegment, int kTokens>
struct RoundedUnit {
  RoundedShare<kSegment> shares[kTokens];

  __device__ __forceinline__ void Round(const FloatUnit<kSegment, kTokens>& from) {
#pragma unroll
    for (int token = 0; token < kTokens; ++token) {
      shares[token] = RoundShare<kBits, kSegment>(from.shares[token]);
    }
  }
  __device__ __forceinline__ void Store(UnitInputs<kSegment, kTokens>& to) const {
    constexpr int kSegments = UnitInputs<kSegment, kTokens>::kSegments;
    const int f = LaneIndex() / 8, set = f / kSegments;
#pragma unroll
    for (int token = 0; token < kTokens; ++token) {
      const int pair = f % kSegments * kTokens + token;
      uint32_t* const operand = reinterpret_cast<uint32_t*>(to.operands[set]);
      StoreColumn<kSegment>(shares[token].high, 2 * pair, operand);
      StoreColumn<kSegment>(shares[token].low, 2 * pair + 1, operand);
      if (LaneIndex() % 8 == 0) to.factors[set][pair] = shares[token].factors;
    }
  }
};

// y of one output and token.
__device__ __forceinline__ void StoreUniform(const UniformArguments& arguments, int64_t token, int64_t output,
                                             float sum) {
  if (token >= arguments.tokens || output >= arguments.outputs) return;
  float* const y = arguments.y + token * arguments.outputs + output;
  const float value = arguments.bias == nullptr ? sum : sum + arguments.bias[output];
  *y = arguments.add ? *y + value : value;
}

}  // namespace ternion::cuda
