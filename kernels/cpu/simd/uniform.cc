// Uniform weights times rounded rows: every segment of 32 channels exactly in integers, then scaled.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/round.h"
#include "kernels/cpu/simd/uniform_kernels.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

float SegmentMost(const float* x) {
  int32_t most = 0;
  for (int i = 0; i < kInputSegment; ++i) {
    const int32_t magnitude = __builtin_bit_cast(int32_t, x[i]) & 0x7fffffff;
    most = magnitude > most ? magnitude : most;
  }
  return __builtin_bit_cast(float, most);
}

void RoundInputs(const float* __restrict x, int64_t n, int64_t units, int8_t* __restrict high,
                 int8_t* __restrict low, float* __restrict steps, float* __restrict sums) {
  const int64_t segments = n / kInputSegment, all = units * kUnitSegments;
  for (int64_t s = 0; s < segments; ++s) {
    const float most = SegmentMost(x + s * kInputSegment);
    const float bound = most < kInputFloor ? kInputFloor : most;
    const float factor = static_cast<float>(kInputMost) / bound;
    int32_t sum = 0;
    for (int64_t i = s * kInputSegment; i < (s + 1) * kInputSegment; ++i) {
      const int32_t code = ClippedRint(x[i] * factor, -kInputMost, kInputMost);
      const int32_t upper = (code + 128) >> 8;
      high[i] = static_cast<int8_t>(upper);
      low[i] = static_cast<int8_t>(code - upper * 256);
      sum += code;
    }
    steps[s] = bound / static_cast<float>(kInputMost);
    sums[s] = static_cast<float>(sum);
  }
  for (int64_t i = n; i < all * kInputSegment; ++i) high[i] = low[i] = 0;
  for (int64_t s = segments; s < all; ++s) steps[s] = sums[s] = 0;
}

int Code(const uint8_t* unit, int bits, int64_t output, int field, int quad, int byte) {
  const uint8_t* const at = unit + output * 4 + byte;
  if (bits == 4) return at[(field / 2 * kUniformQuads + quad) * kUniformLine] >> field % 2 * 4 & 15;
  const int low = at[quad * kUniformLine] >> 2 * field & 3;
  return bits == 2 ? low
                   : low | (at[(kUniformQuads + quad / 2) * kUniformLine] >> (quad % 2 * 4 + field) & 1) << 2;
}

float Scale(const UniformDots& work, const uint8_t* group, int64_t output) {
  float scale = 0;
  if (work.half_scales) {
    kHalfKernels.widen(reinterpret_cast<const uint16_t*>(group) + output, 1, &scale);
  } else {
    scale = reinterpret_cast<const float*>(group)[output];
  }
  return scale;
}

float Dot(const UniformDots& work, const uint8_t* tile, int64_t output, int64_t token) {
  const int64_t scale_bytes = work.half_scales ? 2 : 4;
  float partial[kUniformSums] = {};
  for (int64_t s = 0; s < work.segments; ++s) {
    const int64_t unit = s / kUnitSegments, row = token * work.inputs.units;
    const uint8_t* const group = tile + s / work.group_segments * kUniformTile * (scale_bytes + 1);
    const int8_t* const high = work.inputs.high + (row * kUnitSegments + s) * kInputSegment;
    const int8_t* const low = work.inputs.low + (row * kUnitSegments + s) * kInputSegment;
    int32_t sum = 0;
    for (int i = 0; i < kInputSegment; ++i) {
      const int code = Code(tile + work.groups_bytes + unit * work.bits * 4 * kUniformLine, work.bits, output,
                            static_cast<int>(s % kUnitSegments), i / 4, i % 4);
      sum += code * (high[i] * 256 + low[i]);
    }
    const float zero = group[kUniformTile * scale_bytes + output];
    const float exact = static_cast<float>(sum) - zero * work.inputs.sums[row * kUnitSegments + s];
    partial[unit % kUniformSums] +=
        exact * work.inputs.steps[row * kUnitSegments + s] * Scale(work, group, output);
  }
  for (int half = kUniformSums / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) partial[i] += partial[i + half];
  }
  return partial[0];
}

void DotTiles(const UniformDots& work) {
  const int64_t outputs = work.tile_count * kUniformTile;
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t t = 0; t < work.inputs.tokens; ++t) {
      work.out[t * outputs + o] =
          Dot(work, work.tiles + o / kUniformTile * work.tile_bytes, o % kUniformTile, t);
    }
  }
}

}  // namespace

const UniformKernels kUniformKernels = {RoundInputs, DotTiles};

}  // namespace ternion::cpu::TERNION_ISA
