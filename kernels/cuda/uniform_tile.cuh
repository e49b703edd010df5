#pragma once

#include "kernels/cuda/uniform_unit.cuh"

// Uniform weights by more than four tokens: rows are rounded once, into units of four tokens; then a warp multiplies kTiles
// tiles of 16 outputs by kFours times four tokens. It unpacks a weight once for all of them.
namespace ternion::cuda {

// sums[o][t] += a unit's segments in order; group(o, f) is that of a tile's segment. The inputs of four tokens more lie
// `stride` units further.
template <int kBits, int kSegment, int kTiles, int kFours, typename Group>
__device__ __forceinline__ void AddUnit(const LaneCodes<kBits, kSegment> (&codes)[kTiles], const Group& group,
                                        const UnitInputs<kSegment, 4>* inputs, int64_t stride,
                                        float (&sums)[kTiles][kFours][2]) {
  constexpr int kSteps = kSegment / kStepInputs;
  float first[kTiles][kFours][2];  // of a pair of segments
#pragma unroll
  for (int f = 0; f < kUnitFields; ++f) {
    uint32_t a[kTiles][kSteps][4];
    float scales[kTiles][2];
    int zeros[kTiles][2];
#pragma unroll
    for (int o = 0; o < kTiles; ++o) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) codes[o].Operand(f, step, a[o][step]);
      const auto pair = group(o, f);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        scales[o][i] = pair.scale(i);
        zeros[o][i] = pair.zero(i);
      }
    }
#pragma unroll
    for (int t = 0; t < kFours; ++t) {
      const LaneInputs<kSegment> b = inputs[t * stride].operands[f][LaneIndex()];
      const SegmentFactors factors = inputs[t * stride].factors[f][LaneIndex() % 4];
#pragma unroll
      for (int o = 0; o < kTiles; ++o) {
        int integers[4];
        FirstByteMma(a[o][0], b.steps[0].x, b.steps[0].y, integers);
#pragma unroll
        for (int step = 1; step < kSteps; ++step) {
          ByteMma(a[o][step], b.steps[step].x, b.steps[step].y, integers);
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float term =
              SegmentTerm(integers[2 * i], integers[2 * i + 1], zeros[o][i], scales[o][i], factors);
          if (f % 2 == 0) {
            first[o][t][i] = term;
          } else {
            sums[o][t][i] += first[o][t][i] + term;
          }
        }
      }
    }
  }
}

}  // namespace ternion::cuda
