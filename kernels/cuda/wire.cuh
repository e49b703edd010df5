#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

// What the wire formats share: bfloat16 headers at any address, and codes. The bytes are those of
// kernels/cpu/simd/wire.cc.
namespace ternion::cuda {

inline constexpr int kWireThreads = 256;

// Block x takes row x; its warps take a group each, and blocks y what is left of the row.
inline LaunchShape WarpsByGroups(int64_t rows, int64_t groups) {
  const int64_t blocks = CeilDivide(groups, kWireThreads / kWarp);
  return {dim3(static_cast<unsigned>(rows), static_cast<unsigned>(blocks)), dim3(kWireThreads)};
}

// A warp's group: `n` channels of a row from `channel` on, encoded from byte `offset` of the row's on. Beyond
// the row's end n is not positive.
struct WireGroup {
  int64_t row;
  int64_t channel;
  int n;
  int64_t offset;
};
__device__ __forceinline__ WireGroup GroupOfWarp(int64_t cols, int channels, int bytes) {
  const int64_t group = int64_t{blockIdx.y} * (kWireThreads / kWarp) + WarpIndex(),
                channel = group * channels;
  return {blockIdx.x, channel, static_cast<int>(min(int64_t{channels}, cols - channel)), group * bytes};
}

// The bfloat16 next to x towards zero; away from zero, unless x is one. Infinity stays, and so does NaN,
// whose upper half alone could be infinity's.
__device__ __forceinline__ uint32_t Bf16Towards(uint32_t bits) { return bits >> 16; }
__device__ __forceinline__ uint32_t Bf16Away(uint32_t bits) { return (bits + 0xffffu) >> 16; }
__device__ __forceinline__ bool IsFiniteBits(uint32_t bits) { return (bits & 0x7f800000u) != 0x7f800000u; }
__device__ __forceinline__ uint32_t Bf16NotFinite(uint32_t bits) {
  return bits >> 16 | ((bits & 0xffffu) != 0 ? 0x40u : 0u);
}

// The largest bfloat16 that is not above x; the least that is not below.
__device__ __forceinline__ uint32_t Bf16Down(float x) {
  const uint32_t bits = __float_as_uint(x);
  if (!IsFiniteBits(bits)) return Bf16NotFinite(bits);
  return bits >> 31 != 0 ? Bf16Away(bits) : Bf16Towards(bits);
}
__device__ __forceinline__ uint32_t Bf16Up(float x) {
  const uint32_t bits = __float_as_uint(x);
  if (!IsFiniteBits(bits)) return Bf16NotFinite(bits);
  return bits >> 31 != 0 ? Bf16Towards(bits) : Bf16Away(bits);
}

__device__ __forceinline__ float WidenBf16(uint32_t bf16) { return __uint_as_float(bf16 << 16); }
__device__ __forceinline__ float LoadBf16(const uint8_t* wire) {
  return WidenBf16(wire[0] | static_cast<uint32_t>(wire[1]) << 8);
}

}  // namespace ternion::cuda
