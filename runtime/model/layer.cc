#include "runtime/model/layer.h"

#include <vector>

#include "kernels/status.h"
#include "runtime/model/norm.h"

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
      attention_input_(config, config.rms_norm_eps, weights.input_norm),
      ffn_input_(config, config.rms_norm_eps, weights.post_norm),
      o_(config, OutputShape(config, shard, ranks), wire, weights.o, weights.attn_sub_norm,
         config.linear_norms ? nullptr : &weights.post_norm),
      down_(config, DownShape(config, shard, ranks), wire, weights.down, weights.ffn_sub_norm,
            next == nullptr || config.linear_norms ? nullptr : &next->input_norm) {}

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
  const HeadShard& heads = shard_->heads;
  const int64_t outputs = int64_t{heads.query_heads + 2 * heads.kv_heads} * heads.head_dim;
  const auto qkv = step.workspace.wide.As<float>(step.tokens, outputs);
  TERNION_RETURN_IF_ERROR(config_->linear_norms ? MakeNormedQkv(step, qkv) : MakeQkv(step, qkv));
  const auto attended = step.workspace.attention.As<float>(step.tokens, shard_->attention.size());
  step.backend.RopeAttention(qkv, heads, step.cos_sin, step.slices, step.cache, attended);
  TERNION_ASSIGN_OR_RETURN(step.input_made,
                           o_.Forward(step.backend, step.ranks, step.workspace, attended, step.x));
  return absl::OkStatus();
}

absl::Status Layer::FeedForwardBlock(Step& step) const {
  const auto gated = step.workspace.wide.As<float>(step.tokens, shard_->ffn.size());
  TERNION_RETURN_IF_ERROR(config_->linear_norms ? MakeNormedGated(step, gated) : MakeGated(step, gated));
  TERNION_ASSIGN_OR_RETURN(step.input_made,
                           down_.Forward(step.backend, step.ranks, step.workspace, gated, step.x));
  return absl::OkStatus();
}

absl::Status Layer::MakeQkv(Step& step, TensorView<float> qkv) const {
  TERNION_ASSIGN_OR_RETURN(const QuantizedRows input,
                           attention_input_.Forward(step.backend, step.ranks, step.workspace, step.tokens,
                                                    step.input_made, step.x));
  step.backend.TernaryLinear(weights_->qkv.packed, input, weights_->qkv.scale.As<float>(1, qkv.cols()),
                             /*add=*/false, qkv);
  return absl::OkStatus();
}

absl::Status Layer::MakeGated(Step& step, TensorView<float> gated) const {
  TERNION_ASSIGN_OR_RETURN(
      const QuantizedRows input,
      ffn_input_.Forward(step.backend, step.ranks, step.workspace, step.tokens, step.input_made, step.x));
  const auto gate_scale = weights_->gate.scale.As<float>(1, gated.cols());
  const auto up_scale = weights_->up.scale.As<float>(1, gated.cols());
  if (config_->activation == Activation::kRelu2) {
    step.backend.GatedRelu2(weights_->gate.packed, weights_->up.packed, input, gate_scale, up_scale, gated);
  } else {
    step.backend.GatedSilu(weights_->gate.packed, weights_->up.packed, input, gate_scale, up_scale, gated);
  }
  return absl::OkStatus();
}

absl::Status Layer::MakeNormedQkv(Step& step, TensorView<float> qkv) const {
  const auto normed = step.workspace.normed.As<float>(step.x.rows(), step.x.cols());
  Norm(step.backend, step.workspace, step.x, config_->rms_norm_eps, weights_->input_norm, normed);
  const struct {
    const Buffer& norm;
    const TernaryLinear& linear;
  } matrices[] = {{weights_->query_norm, weights_->qkv},
                  {weights_->key_norm, weights_->key},
                  {weights_->value_norm, weights_->value}};
  int64_t column = 0;
  for (const auto& [norm, linear] : matrices) {
    const auto part = step.workspace.column.As<float>(step.tokens, linear.packed.outputs);
    TERNION_RETURN_IF_ERROR(NormedLinear(step, normed, norm, linear, part));
    step.backend.CopyColumns(part, column, qkv);
    column += part.cols();
  }
  return absl::OkStatus();
}

absl::Status Layer::MakeNormedGated(Step& step, TensorView<float> gated) const {
  const auto normed = step.workspace.normed.As<float>(step.x.rows(), step.x.cols());
  const auto up = step.workspace.column.As<float>(step.tokens, gated.cols());
  Norm(step.backend, step.workspace, step.x, config_->rms_norm_eps, weights_->post_norm, normed);
  TERNION_RETURN_IF_ERROR(NormedLinear(step, normed, weights_->gate_norm, weights_->gate, gated));
  TERNION_RETURN_IF_ERROR(NormedLinear(step, normed, weights_->up_norm, weights_->up, up));
  step.backend.SiluMultiply(gated, up, gated);
  return absl::OkStatus();
}

absl::Status Layer::NormedLinear(Step& step, TensorView<const float> x, const Buffer& norm,
                                 const TernaryLinear& linear, TensorView<float> y) const {
  const ColumnParallelInput input(*config_, config_->sub_norm_eps, norm);
  TERNION_ASSIGN_OR_RETURN(const QuantizedRows codes, input.Forward(step.backend, step.ranks, step.workspace,
                                                                    step.tokens, /*made=*/false, x));
  step.backend.TernaryLinear(linear.packed, codes, linear.scale.As<float>(1, y.cols()), /*add=*/false, y);
  return absl::OkStatus();
}

}  // namespace ternion
