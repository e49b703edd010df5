#pragma once

#include "kernels/cuda/bulk_copy.cuh"

// The tensor-core instructions of the ternary matmuls of few tokens. In all of them lane 4 g + q holds of the sums
// [16 outputs, 8 columns] those of outputs g and g + 8 in columns 2 q, 2 q + 1: (g, 2q), (g, 2q + 1), (g + 8, 2q),
// (g + 8, 2q + 1).
namespace ternion::cuda {

// sums += the number of places where both bits are set, over 256 places. Place 32 q + k of output g is bit k of a.x, of
// g + 8 a.y; place 128 + 32 q + k that of a.z and a.w. Of column g the lane holds places 32 q + k and 128 + 32 q + k.
__device__ __forceinline__ void BinaryMma(const uint4& a, const uint2& b, int (&sums)[4]) {
  asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

// sums += a . b over 32 inputs, a unsigned and b signed bytes. Output g holds inputs 4 q .. 4 q + 3 in a[0] and 16 later
// ones in a[2], output g + 8 in a[1] and a[3], column g in b0 and b1.
__device__ __forceinline__ void ByteMma(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, int (&sums)[4]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same; sums = the product.
__device__ __forceinline__ void FirstByteMma(const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                             int (&sums)[4]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=r"(sums[0]), "=r"(sums[1]), "=r"(sums[2]), "=r"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(0));
}

// Lane 4 g + q gets, of four matrices of 8 rows of 16 bytes, bytes 4 q .. 4 q + 3 of row g; lane 8 m + r points at row r
// of matrix m.
__device__ __forceinline__ void LoadMatrices(const uint8_t* row, uint32_t (&words)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(SharedAddress(row))
               : "memory");
}

}  // namespace ternion::cuda
