#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "parallel/tensor_parallel.h"
#include "runtime/model/config.h"
#include "runtime/model/parallel_linear.h"
#include "runtime/model/weights.h"
#include "runtime/model/workspace.h"

namespace ternion {

// One transformer layer on one rank (docs/numerics.md, One layer).
class Layer {
 public:
  // `weights` must outlive the layer. `ranks`: size of the tensor-parallel group.
  Layer(const ModelConfig& config, const LayerShard& shard, int ranks, WireFormat wire,
        const LayerWeights& weights);

  // Runs a step's T tokens; x [owned, h] is the residual, in place. cos_sin [positions, head_dim].
  absl::Status Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace, const KvLayer& cache,
                       TensorView<const float> cos_sin, const KvSlices& slices, int64_t tokens,
                       TensorView<float> x) const;

 private:
  struct Step;
  absl::Status AttentionBlock(Step& step) const;
  absl::Status FeedForwardBlock(Step& step) const;

  const ModelConfig* config_;
  const LayerShard* shard_;
  const LayerWeights* weights_;
  ColumnParallelInput attention_input_;
  ColumnParallelInput ffn_input_;
  RowParallelLinear o_;
  RowParallelLinear down_;
};

}  // namespace ternion
