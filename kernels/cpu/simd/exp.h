#pragma once

#include <stdint.h>

namespace ternion::cpu::TERNION_ISA {
namespace {

// exp(x) within 1.5 ulp; 0 below ln(2^-126), infinity above ln(2^128), exact at 0, NaN for NaN. Written
// without branches and calls, so that loops over it vectorize and give the same bits for every instruction
// set.
//
// x = n ln2 + r with |r| <= ln2 / 2, exp(x) = 2^n (1 + r + r^2 P(r)); P interpolates (exp(r) - 1 - r) / r^2
// at the six Chebyshev nodes.
[[maybe_unused]] inline float Exp(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // nine bits, so that n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  constexpr float kLowest = -87.3365448f;
  constexpr float kHighest = 88.7228394f;
  const float below = x < kLowest ? kLowest : x;
  const float clipped = below > kHighest ? kHighest : below;
  const float shifted = clipped * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (clipped - n * kLn2High) - n * kLn2Low;
  float p = 1.98909809e-4f;
  p = p * r + 1.39336416e-3f;
  p = p * r + 8.33331048e-3f;
  p = p * r + 4.16664667e-2f;
  p = p * r + 1.66666672e-1f;
  p = p * r + 0.5f;
  const float mantissa = ((p * r) * r + r) + 1.0f;
  // 2^n as two factors, since 2^128 is not a float.
  const uint32_t exponent = __builtin_bit_cast(uint32_t, shifted) - __builtin_bit_cast(uint32_t, kRound);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(exponent) >> 1);
  const float scaled = (mantissa * __builtin_bit_cast(float, (half + 127) << 23)) *
                       __builtin_bit_cast(float, (exponent - half + 127) << 23);
  const float bounded = x > kHighest ? __builtin_inff() : scaled;
  return x < kLowest ? 0.0f : bounded;
}

}  // namespace
}  // namespace ternion::cpu::TERNION_ISA
