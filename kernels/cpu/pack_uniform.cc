#include <algorithm>
#include <cstring>

#include "kernels/check_uniform.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/uniform_layout.h"
#include "kernels/status.h"

namespace ternion::cpu {
namespace {

void OrWord(uint32_t bits, uint8_t* word) {
  uint32_t before = 0;
  std::memcpy(&before, word, sizeof(before));
  bits |= before;
  std::memcpy(word, &bits, sizeof(bits));
}

// One output's codes, a quad at a time, into lines of zeros.    codes [inputs], units: the tile's
void PackCodes(const uint8_t* codes, int64_t inputs, const UniformLayout& layout, int64_t output,
               uint8_t* units) {
  const int64_t quads = layout.segment / 4;
  for (int64_t i = 0; i < inputs; i += 4) {
    const int64_t field = i % layout.UnitInputs() / layout.segment, quad = i % layout.segment / 4;
    uint8_t* const words = units + i / layout.UnitInputs() * layout.UnitBytes() + output * 4;
    uint32_t four = 0;
    std::memcpy(&four, codes + i, sizeof(four));
    if (layout.bits == 4) {
      OrWord(four << field % 2 * 4, words + (field / 2 * quads + quad) * kUniformLine);
      continue;
    }
    OrWord((four & 0x03030303u) << 2 * field, words + quad * kUniformLine);
    if (layout.bits == 2) continue;
    OrWord((four >> 2 & 0x01010101u) << (quad % 2 * 4 + field), words + (quads + quad / 2) * kUniformLine);
  }
}

// One output's scales and zeros.                               groups: the tile's
void PackGroups(const float* scales, const uint8_t* zeros, const UniformLayout& layout, int64_t output,
                const HalfKernels& half, uint8_t* groups) {
  for (int64_t g = 0; g < layout.groups; ++g) {
    uint8_t* const group = groups + g * layout.GroupBytes();
    group[kUniformTile * layout.scale_bytes + output] = zeros[g];
    uint8_t* const scale = group + output * layout.scale_bytes;
    if (layout.scale_bytes == 4) {
      std::memcpy(scale, &scales[g], sizeof(float));
    } else {
      uint16_t narrow = 0;
      half.narrow(&scales[g], 1, &narrow);
      std::memcpy(scale, &narrow, sizeof(narrow));
    }
  }
}

}  // namespace

absl::StatusOr<PackedUniform> CpuBackend::PackUniform(const UniformFormat& format, int64_t outputs,
                                                      int64_t inputs, UniformReader reader) {
  CheckUniformShape(format, outputs, inputs);
  const UniformLayout layout = LayoutOf(format, inputs);
  PackedUniform packed{format, outputs, inputs, {}};
  TERNION_ASSIGN_OR_RETURN(packed.data,
                           Allocate(static_cast<size_t>(UniformTiles(outputs) * layout.TileBytes())));
  uint8_t* const tiles = static_cast<uint8_t*>(packed.data.data());
  Scratch<uint8_t> codes(kUniformRows * inputs), zeros(kUniformRows * layout.groups);
  Scratch<float> scales(kUniformRows * layout.groups);
  const HalfKernels& half = *KernelsFor(isa_).half;
  for (int64_t begin = 0; begin < outputs; begin += kUniformRows) {
    const int64_t n = std::min(kUniformRows, outputs - begin);
    const UniformRows rows{
        {codes.data(), n, inputs}, {scales.data(), n, layout.groups}, {zeros.data(), n, layout.groups}};
    reader({begin, begin + n}, rows);
    TERNION_RETURN_IF_ERROR(CheckUniformRows(format, begin, rows));
    pool_.ForEach(UniformTiles(n), [&](int64_t tile) {
      uint8_t* const to = tiles + (begin / kUniformTile + tile) * layout.TileBytes();
      for (int64_t o = 0; o < std::min(kUniformTile, n - tile * kUniformTile); ++o) {
        const int64_t row = tile * kUniformTile + o;
        PackGroups(rows.scales.row(row), rows.zeros.row(row), layout, o, half, to);
        PackCodes(rows.codes.row(row), inputs, layout, o, to + layout.GroupsBytes());
      }
    });
  }
  return packed;
}

}  // namespace ternion::cpu
