#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "parallel/sharding.h"
#include "runtime/model/config.h"

namespace ternion {

// A stage's activations, allocated once for steps of up to `tokens` tokens. Layers share them; each name is written and
// read within one layer, but for codes and input_scales, which a layer may make for the next one. T: a step's tokens;
// owned: the rows this rank keeps the residual of.
struct Workspace {
  Buffer residual;       // float32 [owned, h]
  Buffer segments;       // float32 [T, segments of the widest row on this rank]
  Buffer all_segments;   // float32 [T, segments of the widest row]
  Buffer codes;          // int8 [T, widest row here]
  Buffer input_scales;   // float32 [1, T], of column-parallel layers
  Buffer scales;         // float32 [1, T], of row-parallel layers
  Buffer sums;           // int32 [T, widest output here]
  Buffer reduced;        // int32 [owned, h]
  Buffer wide;           // float32 [T, widest output here]: qkv, or the gated unit
  Buffer attention;      // float32 [T, attention channels here]
  Buffer partial;        // float32 [T, h], lossy wires
  Buffer delta;          // float32 [owned, h]
  Buffer row_statistic;  // float32 [1, T]: a threshold, or the sum of squares
  Buffer row_absmax;     // float32 [1, T]
  Buffer row_sum;        // float32 [1, owned]
  Buffer normed;         // float32 [T, h], float layers and norms of single matrices
  Buffer column;         // float32 [T, widest output here], the same: up_proj, or one of q, k and v

  static absl::StatusOr<Workspace> Create(Backend& backend, const ModelConfig& config,
                                          const LayerShard& shard, int64_t tokens);
  // What Create allocates.
  static int64_t Bytes(const ModelConfig& config, const LayerShard& shard, int64_t tokens);
};

}  // namespace ternion
