#pragma once

#include <cuda_fp16.h>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ternary_mma.cuh"
#include "kernels/cuda/uniform_layout.h"

// What both uniform matmuls are made of: a multiplication of 16 outputs by a segment of 32 inputs by 4 tokens, whose high and
// low bytes are two columns, and the float operations after it, in the order of docs/numerics.md. Lane 4 g + q has outputs g
// and g + 8 of token q.
namespace ternion::cuda {

inline constexpr int kTileTokens = 4;

struct UniformArguments {
  const uint8_t* tiles;
  int64_t tile_bytes;
  int64_t groups_bytes;
  int64_t outputs;
  int units;
  int segments;        // that exist
  int group_segments;  // of a group
  const float* x;      // [tokens, segments * 32]
  int64_t tokens;
  const float* bias;  // [outputs], or null
  bool add;
  float* y;  // [tokens, outputs]
};

// A token's segment of inputs: what an integer counts, and the integers' sum.
struct SegmentFactors {
  float step;
  float sum;
};

// A scale and a zero as they lie in memory.
template <bool kHalfScales>
struct GroupWord {
  uint32_t word;
  __device__ __forceinline__ float scale() const {
    return __half2float(__ushort_as_half(static_cast<uint16_t>(word & 0xffff)));
  }
  __device__ __forceinline__ float zero() const { return static_cast<float>(word >> 16); }
};
template <>
struct __align__(8) GroupWord<false> {
  uint32_t scale_bits;
  uint32_t zero_point;
  __device__ __forceinline__ float scale() const { return __uint_as_float(scale_bits); }
  __device__ __forceinline__ float zero() const { return static_cast<float>(zero_point); }
};

// A lane's share of a unit of weights. Of kRun neighbouring segments the group is the same.
template <int kBits, bool kHalfScales, int kRun>
struct LaneUnit {
  uint4 codes[kBits == 4 ? 2 : 1];
  uint2 third;
  GroupWord<kHalfScales> groups[kUnitSegments / kRun][2];  // of outputs g and g + 8

  // `tile` is the tile's first byte.
  __device__ __forceinline__ void Load(const UniformArguments& arguments, const uint8_t* tile, int unit) {
    const uint8_t* const from = tile + arguments.groups_bytes + int64_t{unit} * kBits * 256;
    codes[0] = __ldg(reinterpret_cast<const uint4*>(from) + Lane());
    if constexpr (kBits == 4) codes[1] = __ldg(reinterpret_cast<const uint4*>(from) + kWarp + Lane());
    if constexpr (kBits == 3) third = __ldg(reinterpret_cast<const uint2*>(from + 512) + Lane());
    const auto* const words = reinterpret_cast<const GroupWord<kHalfScales>*>(tile) + Lane() / 4;
    int group = unit * kUnitSegments / arguments.group_segments;
    int left = (group + 1) * arguments.group_segments - unit * kUnitSegments;  // segments of this group
#pragma unroll
    for (int f = 0; f < kUnitSegments; f += kRun) {
      if (unit * kUnitSegments + f < arguments.segments) {
        groups[f / kRun][0] = words[group * kUniformTile];
        groups[f / kRun][1] = words[group * kUniformTile + 8];
      }
      left -= kRun;
      if (left > 0) continue;
      ++group;
      left = arguments.group_segments;
    }
  }

  // The operand of segment f.
  __device__ __forceinline__ void Operand(int f, uint32_t (&a)[4]) const {
    const uint4& share = codes[kBits == 4 ? f / 2 : 0];
    const uint32_t words[4] = {share.x, share.y, share.z, share.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if constexpr (kBits == 4) {
        a[j] = words[j] >> f % 2 * 4 & 0x0f0f0f0fu;
      } else {
        a[j] = words[j] >> 2 * f & 0x03030303u;
      }
      if constexpr (kBits == 3) {
        const uint32_t bits = j / 2 == 0 ? third.x : third.y;
        a[j] |= (bits >> (j % 2 * 4 + f) & 0x01010101u) << 2;
      }
    }
  }

  // partial[i] += segment f of output g + 8 i by the lane's token; `a` is its operand, `b` that of the inputs.
  __device__ __forceinline__ void AddSegment(int f, const uint32_t (&a)[4], uint2 b, SegmentFactors factors,
                                             float (&partial)[2]) const {
    int sums[4] = {};
    ByteMma(a, b.x, b.y, sums);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float integer = static_cast<float>(sums[2 * i] * 256 + sums[2 * i + 1]);
      const float exact = integer - groups[f / kRun][i].zero() * factors.sum;
      partial[i] += exact * factors.step * groups[f / kRun][i].scale();
    }
  }
};

// Bytes `byte` of four words.
template <int kByte>
__device__ __forceinline__ uint32_t Bytes(const uint32_t (&x)[4]) {
  constexpr uint32_t kPair = kByte | (4 + kByte) << 4;
  return __byte_perm(__byte_perm(x[0], x[1], kPair), __byte_perm(x[2], x[3], kPair), 0x5410);
}

// Rounds four channels of a segment that eight neighbouring lanes hold; all lanes of the warp call it. Every one of the eight
// gets the segment's factors. Where an input is not finite the integers mean nothing and the step is NaN.
struct RoundedFour {
  uint32_t high;
  uint32_t low;
  SegmentFactors factors;
};
__device__ __forceinline__ RoundedFour RoundInputs(const float4& x) {
  const float channels[4] = {x.x, x.y, x.z, x.w};
  uint32_t bits = 0;  // magnitudes are ordered as their bits; NaN is above all
#pragma unroll
  for (float channel : channels) bits = max(bits, __float_as_uint(channel) & 0x7fffffffu);
#pragma unroll
  for (int apart = 4; apart > 0; apart /= 2) bits = max(bits, __shfl_xor_sync(kAllLanes, bits, apart));
  const float most = __uint_as_float(bits);
  const float bound = most < kInputFloor ? kInputFloor : most;
  const float factor = static_cast<float>(kInputMost) / bound;
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits: its lowest byte, and after 128 more the one above, are the
  // integer's.
  constexpr float kRound = 12582912.0f;
  uint32_t codes[4], above[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    codes[i] = __float_as_uint(channels[i] * factor + kRound);
    above[i] = codes[i] + 128;
  }
  uint32_t sum = (codes[0] + codes[1]) + (codes[2] + codes[3]) - 4 * __float_as_uint(kRound);
#pragma unroll
  for (int apart = 4; apart > 0; apart /= 2) sum += __shfl_xor_sync(kAllLanes, sum, apart);
  const float step = bound / static_cast<float>(kInputMost) + (bound - bound);
  return {Bytes<1>(above), Bytes<0>(codes), {step, static_cast<float>(static_cast<int>(sum))}};
}

// y of one output and token.
__device__ __forceinline__ void StoreUniform(const UniformArguments& arguments, int64_t token, int64_t output,
                                             float sum) {
  if (token >= arguments.tokens || output >= arguments.outputs) return;
  float* const y = arguments.y + token * arguments.outputs + output;
  const float value = arguments.bias == nullptr ? sum : sum + arguments.bias[output];
  *y = arguments.add ? *y + value : value;
}

// The tree that halves the partial sums.
__device__ __forceinline__ float SumOfPartials(const float (&p)[kUniformSums]) {
  return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

}  // namespace ternion::cuda
