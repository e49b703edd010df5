#include "runtime/model/layer.h"

#include <vector>

#include "kernels/status.h"

namespace ternion {
namespace {

RowParallelLinear::Shape OutputShape(const ModelConfig& config, const LayerShard& shard, int ranks) {
  RowParallelLinear::Shape shape;
  shape.width = int64_t{config.shape.heads} * config.shape.head_dim;
  shape.segment = shard.attention_segment;
  shape.keep = config.attention_topk;
  shape.own_begin = shard.attention.begin;
  for (int r = 0; r < ranks; ++r)
    shape.channels.push_back(ShardLayer(config.shape, ranks, r).attention.size());
  return shape;
}

RowParallelLinear::Shape DownShape(const ModelConfig& config, const LayerShard& shard, int ranks) {
  RowParallelLinear::Shape shape;
  shape.width = config.shape.ffn;
  shape.segment = shard.ffn_segment;
  shape.own_begin = shard.ffn.begin;
  for (int r = 0; r < ranks; ++r) shape.channels.push_back(ShardLayer(config.shape, ranks, r).ffn.size());
  return shape;
}

}  // namespace

// What a block of the layer works on.
struct Layer::Step {
  Backend& backend;
  TensorParallel& ranks;
  Workspace& workspace;
  const KvLayer& cache;
  TensorView<const float> cos_sin;
  const KvSlices& slices;
  int64_t tokens;
  TensorView<float> x;  // [owned, h]
  bool input_made;      // the next block's, by the block before
};

Layer::Layer(const ModelConfig& config, const LayerShard& shard, int ranks, WireFormat wire,
             const LayerWeights& weights, const LayerWeights* next)
    : config_(&config),
      shard_(&shard),
      weights_(&weights),
      attention_input_(config, weights.input_norm),
      ffn_input_(config, weights.post_norm),
      o_(config, OutputShape(config, shard, ranks), wire, weights.o, weights.attn_sub_norm,
         &weights.post_norm),
      down_(config, DownShape(config, shard, ranks), wire, weights.down, weights.ffn_sub_norm,
            next == nullptr ? nullptr : &next->input_norm) {}

absl::StatusOr<bool> Layer::Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace,
                                    const KvLayer& cache, TensorView<const float> cos_sin,
                                    const KvSlices& slices, int64_t tokens, bool input_made,
                                    TensorView<float> x) const {
  Step step{backend, ranks, workspace, cache, cos_sin, slices, tokens, x, input_made};
  TERNION_RETURN_IF_ERROR(AttentionBlock(step));
  TERNION_RETURN_IF_ERROR(FeedForwardBlock(step));
  return step.input_made;
}

absl::Status Layer::AttentionBlock(Step& step) const {
  Backend& backend = step.backend;
  const HeadShard& heads = shard_->heads;
  const int64_t outputs = weights_->qkv.packed.outputs;
  TERNION_ASSIGN_OR_RETURN(
      const QuantizedRows input,
      attention_input_.Forward(backend, step.ranks, step.workspace, step.tokens, step.input_made, step.x));
  const auto qkv = step.workspace.wide.As<float>(step.tokens, outputs);
  backend.TernaryLinear(weights_->qkv.packed, input, weights_->qkv.scale.As<float>(1, outputs), /*add=*/false,
                        qkv);

  const auto attended = step.workspace.attention.As<float>(step.tokens, shard_->attention.size());
  backend.RopeAttention(qkv, heads, step.cos_sin, step.slices, step.cache, attended);
  TERNION_ASSIGN_OR_RETURN(step.input_made,
                           o_.Forward(backend, step.ranks, step.workspace, attended, step.x));
  return absl::OkStatus();
}

absl::Status Layer::FeedForwardBlock(Step& step) const {
  Backend& backend = step.backend;
  const int64_t ffn = shard_->ffn.size();
  TERNION_ASSIGN_OR_RETURN(
      const QuantizedRows input,
      ffn_input_.Forward(backend, step.ranks, step.workspace, step.tokens, step.input_made, step.x));
  const auto gated = step.workspace.wide.As<float>(step.tokens, ffn);
  const auto gate_scale = weights_->gate.scale.As<float>(1, ffn);
  const auto up_scale = weights_->up.scale.As<float>(1, ffn);
  if (config_->activation == Activation::kRelu2) {
    backend.GatedRelu2(weights_->gate.packed, weights_->up.packed, input, gate_scale, up_scale, gated);
  } else {
    backend.GatedSilu(weights_->gate.packed, weights_->up.packed, input, gate_scale, up_scale, gated);
  }
  TERNION_ASSIGN_OR_RETURN(step.input_made,
                           down_.Forward(backend, step.ranks, step.workspace, gated, step.x));
  return absl::OkStatus();
}

}  // namespace ternion
