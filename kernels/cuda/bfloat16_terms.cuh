#pragma once

#include <cstdint>

namespace ternion::cuda {

// Takes a bfloat16 off each of two floats: their bits, `low`'s in the low half. Three such terms are a float, to 24 bits.
__device__ __forceinline__ uint32_t TakeTerms(float& low, float& high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  low -= __uint_as_float(bits << 16);
  high -= __uint_as_float(bits & 0xffff0000u);
  return bits;
}

}  // namespace ternion::cuda
