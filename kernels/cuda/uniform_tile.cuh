#pragma once

#include "kernels/cuda/uniform_unit.cuh"

// Uniform weights by more than four tokens: rows are rounded once, into units of four tokens; then a warp multiplies kTiles
// tiles of 16 outputs by kFours times four tokens. It unpacks a weight once for all of them.
namespace ternion::cuda {

// A lane's weights of a unit: codes, and the groups of its segments.
template <int kBits, bool kHalfScales, int kSegment, int kTiles>
struct TileWeights {
  LaneCodes<kBits, kSegment> codes[kTiles];
  GroupPair<kHalfScales> groups[kTiles][kUnitFields];
};

// sums[o][t] += a unit's segments in order. The inputs of four tokens more lie `stride` units further.
template <int kBits, bool kHalfScales, int kSegment, int kTiles, int kFours>
__device__ __forceinline__ void AddUnit(const TileWeights<kBits, kHalfScales, kSegment, kTiles>& weights,
                                        const UnitInputs<kSegment, 4>* inputs, int64_t stride,
                                        float (&sums)[kTiles][kFours][2]) {
  constexpr int kSteps = kSegment / kStepInputs;
#pragma unroll
  for (int f = 0; f < kUnitFields; ++f) {
    uint32_t a[kTiles][kSteps][4];
#pragma unroll
    for (int o = 0; o < kTiles; ++o) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) weights.codes[o].Operand(f, step, a[o][step]);
    }
#pragma unroll
    for (int t = 0; t < kFours; ++t) {
      const LaneInputs<kSegment> b = inputs[t * stride].operands[f][Lane()];
      const SegmentFactors factors = inputs[t * stride].factors[f][Lane() % 4];
#pragma unroll
      for (int o = 0; o < kTiles; ++o) {
        int integers[4] = {};
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
          ByteMma(a[o][step], b.steps[step].x, b.steps[step].y, integers);
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const GroupPair<kHalfScales>& group = weights.groups[o][f];
          sums[o][t][i] +=
              SegmentTerm(integers[2 * i], integers[2 * i + 1], group.zero(i), group.scale(i), factors);
        }
      }
    }
  }
}

}  // namespace ternion::cuda
