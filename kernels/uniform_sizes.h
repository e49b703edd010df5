#pragma once

#include <stdint.h>

// This header is compiled for every instruction set too: it defines constants alone.
namespace ternion {

// The inputs of a uniform matrix are rounded to integers of 16 bits, -kInputMost to kInputMost, with an absolute maximum for
// every segment of channels, so that all but the scales is multiplied and added exactly (docs/numerics.md). An integer is
// 256 * high + low, both in -127 .. 127. UniformSegment says how long a matrix' segments are.
inline constexpr int64_t kShortSegment = 32;
inline constexpr int64_t kLongSegment = 64;
inline constexpr int kInputMost = 127 * 257;
// Absolute maxima below this count as this.
inline constexpr float kInputFloor = 1e-30f;
// Segments lie in memory by units of kUnitSegments. An output's sum is made of kUniformParts partial sums, of neighbouring
// units each: part p begins with unit p * units / kUniformParts, rounded down.
inline constexpr int64_t kUnitSegments = 4;
inline constexpr int64_t kUniformParts = 8;

}  // namespace ternion
