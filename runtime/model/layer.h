#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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
  // `weights` must outlive the layer. `ranks`: size of the tensor-parallel group. `next`: the layer that this stage runs
  // after this one, or null.
  Layer(const ModelConfig& config, const LayerShard& shard, int ranks, WireFormat wire,
        const LayerWeights& weights, const LayerWeights* next);

  // Runs a step's T tokens; x [owned, h] is the residual, in place. cos_sin [positions, head_dim]. `input_made`: the layer
  // before has left this one's quantized input in the workspace; returns whether this one has left the next one's.
  absl::StatusOr<bool> Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace,
                               const KvLayer& cache, TensorView<const float> cos_sin, const KvSlices& slices,
                               int64_t tokens, bool input_made, TensorView<float> x) const;

 private:
  struct Step;
  absl::Status AttentionBlock(Step& step) const;
  absl::Status FeedForwardBlock(Step& step) const;
  absl::Status MakeQkv(Step& step, TensorView<float> qkv) const;
  absl::Status MakeGated(Step& step, TensorView<float> gated) const;
  // The same of a model with a norm in every linear layer.
  absl::Status MakeNormedQkv(Step& step, TensorView<float> qkv) const;
  absl::Status MakeNormedGated(Step& step, TensorView<float> gated) const;
  // y = the matrix's product with its own norm of x.                                x [owned, h], y [T, outputs]
  absl::Status NormedLinear(Step& step, TensorView<const float> x, const Buffer& norm,
                            const TernaryLinear& linear, TensorView<float> y) const;

  const ModelConfig* config_;
  const LayerShard* shard_;
  const LayerWeights* weights_;
  ColumnParallelInput attention_input_;
  ColumnParallelInput ffn_input_;
  RowParallelLinear o_;
  RowParallelLinear down_;
};

}  // namespace ternion
