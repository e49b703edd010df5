#pragma once

#include <cstdint>

#include "kernels/float_linear.h"

// How a uniformly quantized matrix lies in memory on CUDA: by tiles of 16 outputs, of each tile
//   per group  16 words, of outputs 0, 8, 1, 9 .. 7, 15: a float16 scale and, in the upper half, the zero; or of float32 16
//              pairs of words, scale and zero
//   per unit   of four segments (UniformSegment) every lane's share of it
// and so in the order in which warps read it. A multiplication has 16 outputs and 32 inputs; lane 4 g + q has of them inputs
// 8 q .. 8 q + 7 of outputs g and g + 8, in the order of the operands (ByteMma): word j has output g + 8 (j mod 2) and inputs
// 8 q + 4 (j div 2) .., a byte each. A segment is one such step or two; of a byte
//   2 bits  field f is the code in segment f of the unit. [steps][lanes] 16 bytes
//   4 bits  nibble n is the code in segment 2 h + n. [h = 0, 1][lanes] 16 bytes
//   3 bits  the low two bits as above; the third ones follow, [lanes][steps] 8 bytes: of word j div 2 bit 4 (j mod 2) + f
// Outputs and inputs that do not exist have codes, zeros and scales of 0.
namespace ternion::cuda {

inline constexpr int kUniformTile = 16;
inline constexpr int kStepInputs = 32;

struct UniformLayout {
  int bits;
  int64_t segment;  // inputs
  int group_words;  // of an output: 1 or 2
  int64_t groups;
  int64_t units;

  constexpr int64_t GroupsBytes() const { return groups * kUniformTile * group_words * 4; }
  constexpr int64_t UnitInputs() const { return segment * kUnitSegments; }
  constexpr int64_t UnitBytes() const { return bits * UnitInputs() * kUniformTile / 8; }
  constexpr int64_t TileBytes() const { return GroupsBytes() + units * UnitBytes(); }
};

constexpr UniformLayout LayoutOf(const UniformFormat& format, int64_t inputs) {
  const int64_t segment = UniformSegment(format, inputs), unit = segment * kUnitSegments;
  return {format.bits, segment, format.scale == ScaleType::kFloat16 ? 1 : 2, format.Groups(inputs),
          (inputs + unit - 1) / unit};
}
constexpr int64_t UniformTiles(int64_t outputs) { return (outputs + kUniformTile - 1) / kUniformTile; }

}  // namespace ternion::cuda
