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

// Those of a lane; `tile` is the tile's first byte.
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

// Where a token's output goes and what is added to it.
class UniformOutput {
 public:
  __device__ __forceinline__ UniformOutput() {}
  __device__ __forceinline__ UniformOutput(const UniformArguments& arguments, int64_t token, int64_t output) {
    if (token >= arguments.tokens || output >= arguments.outputs) return;
    y_ = arguments.y + token * arguments.outputs + output;
    if (arguments.bias != nullptr) bias_ = arguments.bias[output];
    if (arguments.add) before_ = *y_;
  }
  __device__ __forceinline__ void Store(float sum) const {
    if (y_ != nullptr) *y_ = before_ + (sum + bias_);
  }

 private:
  float* y_ = nullptr;
  float bias_ = -0.0f, before_ = -0.0f;  // change no bit of what they are added to
};

}  // namespace ternion::cuda
