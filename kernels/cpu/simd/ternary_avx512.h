#pragma once

// GCC 12 takes the undefined pass-through operands of its own AVX-512 intrinsics for uninitialized variables.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

namespace ternion::cpu::TERNION_ISA {

// sums += unsigned bytes x signed bytes, four products a lane. As an instruction rather than the intrinsic,
// for which GCC 12 copies the accumulator to a fresh register each time and spills half the tile.
static inline __attribute__((always_inline)) void AddDots(__m512i& sums, __m512i unsigned_bytes,
                                                          __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(unsigned_bytes), "v"(signed_bytes));
}

// The mask of the first n of 16 lanes.
static inline __mmask16 FirstLanes(int64_t n) {
  return n >= 16 ? 0xFFFF : n <= 0 ? 0 : static_cast<__mmask16>((1 << n) - 1);
}

}  // namespace ternion::cpu::TERNION_ISA
