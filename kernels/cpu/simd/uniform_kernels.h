#pragma once

#include <stdint.h>

#include "kernels/uniform_sizes.h"

// The inner loops of UniformLinear, once per instruction set. Every sum has the order of docs/numerics.md, so every set gives
// the same bits. Compiled for every set: it defines nothing.
namespace ternion::cpu {

// Sides of a matrix in memory: kernels/cpu/uniform_layout.h.
inline constexpr int64_t kUniformTile = 16;  // outputs
inline constexpr int64_t kUniformLine = 64;  // bytes
inline constexpr int64_t kUniformQuads = kInputSegment / 4;
inline constexpr int64_t kUnitSegments = kUniformUnit / kInputSegment;

// Rows of x as integers 256 * high + low. Channels that do not exist, up to whole units, are 0.
struct UniformInputs {
  int8_t* high;  // [tokens, units * kUniformUnit]
  int8_t* low;   // the same
  float* steps;  // [tokens, units * segments of a unit]: what an integer counts
  float* sums;   // the same: a segment's integers added
  int64_t tokens;
  int64_t units;
};

// Tiles as kernels/cpu/uniform_layout.h has them.
struct UniformDots {
  const uint8_t* tiles;
  int64_t tile_bytes;
  int64_t tile_count;
  int64_t groups_bytes;
  int64_t segments;        // of the inputs
  int64_t group_segments;  // of a group
  int bits;
  bool half_scales;
  UniformInputs inputs;
  float* out;  // [tokens, tile_count * kUniformTile]
};

struct UniformKernels {
  // A row of x: n channels, high and low of whole units.
  void (*round_inputs)(const float* x, int64_t n, int64_t units, int8_t* high, int8_t* low, float* steps,
                       float* sums);
  void (*dot_tiles)(const UniformDots& work);
};

namespace portable {
extern const UniformKernels kUniformKernels;
}
namespace avx2 {
extern const UniformKernels kUniformKernels;
}
namespace avx512 {
extern const UniformKernels kUniformKernels;
}

}  // namespace ternion::cpu
