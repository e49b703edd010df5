#pragma once

#include <cstdint>

#include "kernels/float_linear.h"

// How a uniformly quantized matrix lies in memory on CUDA: by tiles of 16 outputs, of each tile
//   per group  16 words: a float16 scale and, in the upper half, the zero; or of float32 16 pairs of words, scale and zero
//   per unit   of 128 inputs (kUniformUnit) every lane's share, 16 bytes of the low two bits or 2 x 16 bytes of four
// and so in the order in which warps read it. Lane 4 g + q has of a segment of 32 inputs those 8 q .. 8 q + 7 of outputs g and
// g + 8: what it gives to one multiplication of 16 outputs by 32 inputs, in the order of the operands (ByteMma): word j has
// output g + 8 (j mod 2) and inputs 8 q + 4 (j div 2) .., a byte each. Of a byte
//   2 bits  field f is the code in segment f of the unit
//   4 bits  nibble n is the code in segment 2 h + n, h = 0, 1 the share's half
//   3 bits  the low two bits as above; the third ones follow, 8 bytes a lane: of word j div 2 bit 4 (j mod 2) + f
// Outputs and inputs that do not exist have codes, zeros and scales of 0.
namespace ternion::cuda {

inline constexpr int kUniformTile = 16;
inline constexpr int kUnitSegments = static_cast<int>(kUniformUnit / kInputSegment);

struct UniformLayout {
  int bits;
  int group_words;  // of an output: 1 or 2
  int64_t groups;
  int64_t units;

  constexpr int64_t GroupsBytes() const { return groups * kUniformTile * group_words * 4; }
  constexpr int64_t UnitBytes() const { return bits * int64_t{256}; }
  constexpr int64_t TileBytes() const { return GroupsBytes() + units * UnitBytes(); }
};

constexpr UniformLayout LayoutOf(const UniformFormat& format, int64_t inputs) {
  return {format.bits, format.scale == ScaleType::kFloat16 ? 1 : 2, format.Groups(inputs),
          (inputs + kUniformUnit - 1) / kUniformUnit};
}
constexpr int64_t UniformTiles(int64_t outputs) { return (outputs + kUniformTile - 1) / kUniformTile; }

}  // namespace ternion::cuda
