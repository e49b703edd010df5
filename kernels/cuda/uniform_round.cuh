#pragma once

#include "kernels/cuda/uniform_unit.cuh"

// Rounding of inputs to integers (docs/numerics.md), a unit at a time, into what the multiplications take (UnitInputs).
namespace ternion::cuda {

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

}  // namespace ternion::cuda
