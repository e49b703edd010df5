#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/kv.h"

// Where the packed KV formats (kernels/kv.h) keep codes and scales on the device.
//
// A KV head of a block is two sides, its keys and its values. A side is units of 16 channels and all 64 tokens, each in
// the order in which a warp multiplies it: lane 4 g + q has the codes of the right operands of eight mma.m16n8k16, in
// four groups i of 16 tokens; r = 0 to 3 counts the group's registers, h the halves of one:
//
//   code (i, r, h)    keys: token 16 i + 8 (r / 2) + g, channel 8 (r % 2) + 2 q + h
//                   values: token 16 i + 8 (r % 2) + 2 q + h, channel 8 (r / 2) + g
//
// It is stored without sign (SideLayout::kOffset is added) in the lane's words, `bits` of them:
//
//   8 bits   bits 16 h + 8 (r % 2) of word 2 i + r / 2
//   4 bits   bits 16 h + 4 r of word i
//   3 bits   bits 16 h + 4 r of word i; but of i = 3 its bit k is bit 16 h + 4 r + 3 of word k, for k = 0, 1, 2
//
// Behind the units stand the scales, then for 3 bits with a first token of 4 bits the fourth bits of that token's codes.
namespace ternion::cuda {

inline constexpr int kUnitChannels = 16;
inline constexpr int kUnitGroups = 4;     // of 16 tokens
inline constexpr int kUnitRegisters = 4;  // of a group

enum class KvSide { kKeys, kValues };

// One side of a KV head in a block, in bytes.
template <KvFormat kFormat>
struct SideLayout {
  static constexpr KvPacking kPacking = PackingOf(kFormat);
  static constexpr int kBits = kPacking.bits;
  static constexpr bool kGrouped = kPacking.group > 0;
  static constexpr bool kLongFirst = kPacking.first_bits > kPacking.bits;
  static constexpr int kOffset = kGrouped ? 0 : 1 << (kBits - 1);
  static constexpr int kUnitBytes = kUnitChannels * kKvBlockTokens * kBits / 8;

  __host__ __device__ static constexpr int Bytes(int dim) {
    return static_cast<int>(KvHeadBytes(kFormat, dim) / 2);
  }
  // Arrays of a scale for each token: the head's, or of each group of channels its steps, then its minimums.
  __host__ __device__ static constexpr int Scales(int dim) { return dim / kUnitChannels * kUnitBytes; }
  __host__ __device__ static constexpr int ScaleArrays(int dim) {
    return kGrouped ? (dim + kPacking.group - 1) / kPacking.group * 2 : 1;
  }
  // Bit c % 32 of word c / 32 is channel c's.
  __host__ __device__ static constexpr int FirstBits(int dim) {
    return Scales(dim) + ScaleArrays(dim) * kScaleBytes;
  }
  static constexpr int kScaleBytes = kKvBlockTokens * 2;
};

// Where a token's scale stands in such an array: what a lane needs lies together.
template <KvSide kSide>
__device__ __forceinline__ int ScaleIndex(int token) {
  if constexpr (kSide == KvSide::kKeys) return token % 8 * 8 + token / 8;
  return token % 8 / 2 * 16 + token / 8 * 2 + token % 2;
}

struct CodePlace {
  int token;    // of the block
  int channel;  // of the unit
};
template <KvSide kSide>
__device__ __forceinline__ CodePlace PlaceOfCode(int lane, int i, int r, int h) {
  const int g = lane / 4, q = lane % 4;
  if constexpr (kSide == KvSide::kKeys) return {16 * i + 8 * (r / 2) + g, 8 * (r % 2) + 2 * q + h};
  return {16 * i + 8 * (r % 2) + 2 * q + h, 8 * (r / 2) + g};
}

// A lane's words of a unit.
template <int kBits>
struct LaneWords {
  uint32_t w[kBits];

  __device__ __forceinline__ void Load(const char* unit, int lane) {
    const auto* const words = reinterpret_cast<const uint32_t*>(unit);
    if constexpr (kBits == 3) {
      const uint2 low = reinterpret_cast<const uint2*>(words)[lane];
      w[0] = low.x, w[1] = low.y, w[2] = words[2 * kWarp + lane];
    } else {
#pragma unroll
      for (int i = 0; i < kBits / 4; ++i) {
        const uint4 four = reinterpret_cast<const uint4*>(words)[i * kWarp + lane];
        w[4 * i] = four.x, w[4 * i + 1] = four.y, w[4 * i + 2] = four.z, w[4 * i + 3] = four.w;
      }
    }
  }
  __device__ __forceinline__ void Store(char* unit, int lane) const {
    auto* const words = reinterpret_cast<uint32_t*>(unit);
    if constexpr (kBits == 3) {
      reinterpret_cast<uint2*>(words)[lane] = {w[0], w[1]};
      words[2 * kWarp + lane] = w[2];
    } else {
#pragma unroll
      for (int i = 0; i < kBits / 4; ++i) {
        reinterpret_cast<uint4*>(words)[i * kWarp + lane] = {w[4 * i], w[4 * i + 1], w[4 * i + 2],
                                                             w[4 * i + 3]};
      }
    }
  }

  // i, r and h are known at compile time.
  __device__ __forceinline__ void Set(int i, int r, int h, uint32_t code) {
    if constexpr (kBits == 8) {
      Put(2 * i + r / 2, 16 * h + 8 * (r % 2), 0xff, code);
    } else if (kBits == 4 || i < 3) {
      Put(i, 16 * h + 4 * r, (1u << kBits) - 1, code);
    } else {
#pragma unroll
      for (int k = 0; k < 3; ++k) Put(k, 16 * h + 4 * r + 3, 1, code >> k & 1);
    }
  }

 private:
  __device__ __forceinline__ void Put(int word, int shift, uint32_t mask, uint32_t code) {
    w[word] = (w[word] & ~(mask << shift)) | code << shift;
  }
};

}  // namespace ternion::cuda
