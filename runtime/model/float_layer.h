#pragma once

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "parallel/tensor_parallel.h"
#include "runtime/model/config.h"
#include "runtime/model/weights.h"
#include "runtime/model/workspace.h"

namespace ternion {

// One transformer layer whose activations are floats, on one rank: LLaMA's, with biases of q, k and v where the model has
// them. Between ranks sums are float32 in rank order, or rounded by a lossy wire: bits depend on tp, and on nothing else
// (docs/numerics.md, the contract on exactness).
class FloatLayer {
 public:
  // `weights` must outlive the layer.
  FloatLayer(const ModelConfig& config, const LayerShard& shard, WireFormat wire,
             const FloatLayerWeights& weights)
      : config_(&config), shard_(&shard), wire_(wire), weights_(&weights) {}

  // Runs a step's T tokens; x [owned, h] is the residual, in place. cos_sin [positions, head_dim].
  absl::Status Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace, const KvLayer& cache,
                       TensorView<const float> cos_sin, const KvSlices& slices, int64_t tokens,
                       TensorView<float> x) const;

 private:
  struct Step;
  absl::Status AttentionBlock(const Step& step) const;
  absl::Status FeedForwardBlock(const Step& step) const;
  // The normed residual of all tokens.                                                  [T, h]
  absl::StatusOr<TensorView<const float>> Input(const Step& step, const Buffer& norm) const;
  // residual += the sum over ranks of x . W^T.                                          x [T, own channels]
  absl::Status AddRowParallel(const Step& step, const FloatLinear& linear, TensorView<const float> x) const;

  const ModelConfig* config_;
  const LayerShard* shard_;
  WireFormat wire_;
  const FloatLayerWeights* weights_;
};

}  // namespace ternion
