#pragma once

#include <stdint.h>

#include "kernels/uniform_sizes.h"

// The inner loops of UniformLinear, once per instruction set. Every sum has the order of docs/numerics.md, so every set gives
// the same bits. Compiled for every set: it defines nothing.
namespace ternion::cpu {

// Sides of a matrix in memory: kernels/cpu/uniform_layout.h.
inline constexpr int64_t kUniformTile = 16;  // outputs
inline constexpr int64_t kUniformLine = 64;  // bytes

// Rows of x as integers 256 * high + low. Channels that do not exist, up to whole units, are 0.
struct UniformInputs {
  int8_t* high;  // [tokens, units * kUnitSegments * segment]
  int8_t* low;   // the same
  float* steps;  // [tokens, units * kUnitSegments]: what an integer counts
  float* sums;   // the same: a segment's integers added
  int64_t tokens;
  int64_t units;
  int64_t segment;  // channels: kShortSegment or kLongSegment
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
  // A token's row of x, n channels, into `to`.
  void (*round_inputs)(const float* x, int64_t n, const UniformInputs& to, int64_t token);
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
