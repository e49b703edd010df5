// IEEE half to float and back. Without F16C the same bits come from integer arithmetic.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/vec.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace ternion::cpu::TERNION_ISA {
namespace {

uint16_t NarrowOne(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Normal halves: rebias the exponent by 112, round the 13 bits that go to even; the carry may reach
  // infinity.
  const uint32_t rebased = magnitude - (112u << 23);
  const uint32_t normal = (rebased + 0xfffu + (rebased >> 13 & 1)) >> 13;
  // Subnormal halves: adding 0.5 shifts the units of 2^-24 to the last bits and rounds them to even.
  const float shifted = __builtin_bit_cast(float, magnitude < 0x38800000u ? magnitude : 0u) + 0.5f;
  const uint32_t subnormal = __builtin_bit_cast(uint32_t, shifted) - 0x3f000000u;
  const uint32_t nan = 0x7e00u | (magnitude >> 13 & 0x3ffu);
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x47800000u ? 0x7c00u : half;
  half = magnitude > 0x7f800000u ? nan : half;
  return static_cast<uint16_t>(sign | half);
}

float WidenOne(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t normal = (magnitude << 13) + (112u << 23);
  // A subnormal's mantissa counts units of 2^-24.
  const float counted = static_cast<float>(static_cast<int32_t>(magnitude)) * 5.96046448e-8f;
  const uint32_t special = (magnitude << 13) + (224u << 23);
  const uint32_t quiet = magnitude > 0x7c00u ? 0x400000u : 0u;
  uint32_t bits = magnitude < 0x400u ? __builtin_bit_cast(uint32_t, counted) : normal;
  bits = magnitude >= 0x7c00u ? (special | quiet) : bits;
  return __builtin_bit_cast(float, bits | sign);
}

void Narrow(const float* __restrict x, int64_t n, uint16_t* __restrict y) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), halves);
  }
#endif
  for (; i < n; ++i) y[i] = NarrowOne(x[i]);
}

void Widen(const uint16_t* __restrict x, int64_t n, float* __restrict y) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(halves));
  }
#endif
  for (; i < n; ++i) y[i] = WidenOne(x[i]);
}

}  // namespace

const HalfKernels kHalfKernels = {Narrow, Widen};

}  // namespace ternion::cpu::TERNION_ISA
