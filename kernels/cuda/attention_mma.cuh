#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/device.cuh"

// The instructions that attention is made of: copies into shared memory, fragments out of it, and products of
// halves. Shared memory is rows of 16-byte units; unit u of row r lies at u ^ (r % 8), so that eight rows'
// units of one number lie in different banks.
namespace ternion::cuda {

inline constexpr int kUnitBytes = 16;
inline constexpr int kUnitHalves = 8;

// Of a row's unit, in bytes from the matrix's begin.
template <int kRowBytes>
__device__ __forceinline__ uint32_t UnitOffset(uint32_t row, uint32_t unit) {
  return row * kRowBytes + unit / 8 * 128 + ((unit % 8) ^ (row % 8)) * kUnitBytes;
}

// CopyUnit, or zeros.
__device__ __forceinline__ void CopyUnitOrZero(uint32_t shared, const void* global, bool copy) {
  const int bytes = copy ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void CopyPairOrZero(uint32_t shared, const void* global, bool copy) {
  const int bytes = copy ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(global), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void StoreShared(uint32_t shared, uint32_t value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(shared), "r"(value) : "memory");
}
__device__ __forceinline__ void StoreSharedPair(uint32_t shared, uint32_t low, uint32_t high) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(shared), "r"(low), "r"(high) : "memory");
}
__device__ __forceinline__ void StoreSharedHalf(uint32_t shared, __half value) {
  asm volatile("st.shared.b16 [%0], %1;" ::"r"(shared), "h"(__half_as_ushort(value)) : "memory");
}
__device__ __forceinline__ void ZeroUnit(uint32_t shared) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(shared), "r"(0) : "memory");
}

// Four 8 x 8 matrices of halves; lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void LoadMatrices(uint32_t shared, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared)
               : "memory");
}
__device__ __forceinline__ void LoadTransposed(uint32_t shared, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared)
               : "memory");
}

// A lane's row of 16 x 16 halves at rows 0 to 15 and units first_unit (even), first_unit + 1. The order of
// the terms lets what is known at compile time fold into the address.
template <int kRowBytes>
__device__ __forceinline__ uint32_t LaneOffset(uint32_t first_unit) {
  const uint32_t lane = threadIdx.x % kWarp;
  const uint32_t turn = (lane / 16 ^ lane % 8) * kUnitBytes;
  return lane % 16 * kRowBytes + (turn ^ (first_unit % 8 * kUnitBytes)) + first_unit / 8 * 128;
}
// The 16 x 16 left operand at rows 0 to 15 and units first_unit, first_unit + 1.
template <int kRowBytes>
__device__ __forceinline__ void LoadLeft(uint32_t matrix, uint32_t first_unit, uint32_t (&to)[4]) {
  LoadMatrices(matrix + LaneOffset<kRowBytes>(first_unit), to);
}
// Two right operands of 16 x 8, side by side, at rows first_row (a multiple of 8) to first_row + 15 and units
// first_unit, first_unit + 1: to[0], to[1] and to[2], to[3].
template <int kRowBytes>
__device__ __forceinline__ void LoadRight(uint32_t matrix, uint32_t first_row, uint32_t first_unit,
                                          uint32_t (&to)[4]) {
  LoadTransposed(matrix + LaneOffset<kRowBytes>(first_unit) + first_row * kRowBytes, to);
}

// sum[16 x 8] += a[16 x 16] . b[16 x 8]. Of `sum` a lane holds columns 2 * (lane % 4) and the next, of row
// lane / 4 in sum[0], sum[1] and of row lane / 4 + 8 in sum[2], sum[3].
__device__ __forceinline__ void MultiplyAdd(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                            uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ uint32_t PackHalves(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// 2^x; 0 at minus infinity and 1 at 0.
__device__ __forceinline__ float PowerOf2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace ternion::cuda
