#pragma once

#include <stdint.h>

// This header is compiled for every instruction set too: it defines constants alone.
namespace ternion {

// The inputs of a uniform matrix are rounded to integers of 16 bits, -kInputMost to kInputMost, with an absolute maximum for
// every kInputSegment channels, so that all but the scales is multiplied and added exactly (docs/numerics.md). An integer is
// 256 * high + low, both in -127 .. 127.
inline constexpr int64_t kInputSegment = 32;
inline constexpr int kInputMost = 127 * 257;
// Absolute maxima below this count as this.
inline constexpr float kInputFloor = 1e-30f;
// An output's sum is kUniformSums partial sums: of the units of kUniformUnit channels that are equal modulo kUniformSums.
inline constexpr int64_t kUniformUnit = 128;
inline constexpr int64_t kUniformSums = 8;

}  // namespace ternion
