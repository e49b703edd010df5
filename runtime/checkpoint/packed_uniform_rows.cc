#include "runtime/checkpoint/packed_uniform_rows.h"

#include <cstring>

#include "kernels/cpu/uniform_layout.h"
#include "runtime/checkpoint/floats.h"

namespace ternion {
namespace {

using cpu::UniformLayout;

// One input's code; `units`: the output's first byte of the tile's units.
uint8_t CodeAt(const uint8_t* units, const UniformLayout& layout, int64_t input) {
  const uint8_t* const unit = units + input / layout.UnitInputs() * layout.UnitBytes();
  const int64_t field = input % layout.UnitInputs() / layout.segment, quad = input % layout.segment / 4,
                quads = layout.segment / 4;
  const auto line = [&](int64_t index) { return int{unit[index * cpu::kUniformLine + input % 4]}; };
  if (layout.bits == 4) {
    return static_cast<uint8_t>(line(field / 2 * quads + quad) >> (field % 2 * 4) & 15);
  }
  const int low = line(quad) >> (2 * field) & 3;
  if (layout.bits == 2) return static_cast<uint8_t>(low);
  const int high = line(quads + quad / 2) >> (quad % 2 * 4 + field) & 1;
  return static_cast<uint8_t>(low | high << 2);
}

float ScaleAt(const uint8_t* group, const UniformLayout& layout, int64_t output) {
  float scale = 0;
  uint16_t half = 0;
  if (layout.scale_bytes == sizeof(scale)) {
    std::memcpy(&scale, group + output * layout.scale_bytes, sizeof(scale));
    return scale;
  }
  std::memcpy(&half, group + output * layout.scale_bytes, sizeof(half));
  return FromHalf(half);
}

}  // namespace

void ReadPackedUniform(const UniformFormat& format, int64_t inputs, const uint8_t* tiles, Range outputs,
                       const UniformRows& rows) {
  const UniformLayout layout = cpu::LayoutOf(format, inputs);
  for (int64_t o = outputs.begin; o < outputs.end; ++o) {
    const int64_t row = o - outputs.begin, at = o % cpu::kUniformTile;
    const uint8_t* const tile = tiles + o / cpu::kUniformTile * layout.TileBytes();
    for (int64_t g = 0; g < layout.groups; ++g) {
      const uint8_t* const group = tile + g * layout.GroupBytes();
      rows.scales.row(row)[g] = ScaleAt(group, layout, at);
      rows.zeros.row(row)[g] = group[cpu::kUniformTile * layout.scale_bytes + at];
    }
    const uint8_t* const units = tile + layout.GroupsBytes() + at * 4;
    for (int64_t i = 0; i < inputs; ++i) {
      rows.codes.row(row)[i] = CodeAt(units, layout, i);
    }
  }
}

}  // namespace ternion
