#pragma once

#include <cstdint>

#include "kernels/cpu/simd/uniform_kernels.h"
#include "kernels/float_linear.h"

// How a uniformly quantized matrix lies in memory on the CPU: by tiles of 16 outputs, of each tile
//   per group        16 scales (float16 or float32), then 16 zeros, a byte each; padded to whole lines of 64 bytes
//   per unit         of four segments (UniformSegment), `bits` * segment / 8 lines of codes
// so that a tile is read once, from its first byte to its last. A line is a word of 32 bits for every output of the tile, a
// word four neighbouring inputs (a quad), a byte each. Of a byte
//   2 bits  field f is the code in segment f of the unit. Lines: the quads of a segment.
//   4 bits  nibble n is the code in segment 2 h + n. Lines: h = 0, 1, of each the quads of a segment.
//   3 bits  the low two bits as above, then the third ones: bit 4 (q mod 2) + f is that of quad q in segment f. Lines: q / 2.
// So one mask of a line gives what a segment's codes are multiplied with, and the lanes of a vector are outputs. Outputs and
// inputs that do not exist have codes, zeros and scales of 0.
namespace ternion::cpu {

struct UniformLayout {
  int bits;
  int64_t segment;      // inputs
  int64_t scale_bytes;  // of one scale
  int64_t groups;
  int64_t units;

  constexpr int64_t GroupBytes() const { return kUniformTile * (scale_bytes + 1); }
  constexpr int64_t GroupsBytes() const {
    return (groups * GroupBytes() + kUniformLine - 1) / kUniformLine * kUniformLine;
  }
  constexpr int64_t UnitInputs() const { return segment * kUnitSegments; }
  constexpr int64_t UnitBytes() const { return bits * segment / 8 * kUniformLine; }
  constexpr int64_t TileBytes() const { return GroupsBytes() + units * UnitBytes(); }
};

constexpr UniformLayout LayoutOf(const UniformFormat& format, int64_t inputs) {
  const int64_t segment = UniformSegment(format, inputs), unit = segment * kUnitSegments;
  return {format.bits, segment, format.scale == ScaleType::kFloat16 ? 2 : 4, format.Groups(inputs),
          (inputs + unit - 1) / unit};
}
constexpr int64_t UniformTiles(int64_t outputs) { return (outputs + kUniformTile - 1) / kUniformTile; }

}  // namespace ternion::cpu
