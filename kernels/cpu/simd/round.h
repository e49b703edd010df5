#pragma once

#include <stdint.h>

namespace ternion::cpu::TERNION_ISA {
namespace {

// clip(rint(x), low, high) as an integer, halves to even; 0 for NaN. |low| and |high| are at most 2^21.
[[maybe_unused]] inline int32_t ClippedRint(float x, float low, float high) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float number = x == x ? x : 0.0f;
  const float above = number > low ? number : low;
  const float clipped = above < high ? above : high;
  return __builtin_bit_cast(int32_t, clipped + kRound) - __builtin_bit_cast(int32_t, kRound);
}

}  // namespace
}  // namespace ternion::cpu::TERNION_ISA
