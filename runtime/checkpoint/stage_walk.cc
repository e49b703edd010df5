#include "runtime/checkpoint/stage_walk.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/float_loader.h"

namespace ternion {

StageWalk::StageWalk(const ModelConfig& config, const ProcessGrid& grid, WeightVisitor& visitor)
    : config_(config),
      grid_(grid),
      visitor_(visitor),
      shard_(ShardLayer(config.shape, grid.tp, grid.tp_rank())),
      layers_(StageLayers(config.shape, grid.pp, grid.stage())) {}

bool StageWalk::has_embedding() const {
  const bool wanted = grid_.first_stage() || (grid_.last_stage() && config_.tied_embeddings);
  return wanted && shard_.vocab.size() > 0;
}

bool StageWalk::has_head() const {
  return grid_.last_stage() && !config_.tied_embeddings && shard_.vocab.size() > 0;
}

absl::Status StageWalk::Embedding(Buffer& table) {
  return visitor_.Table("embedding", shard_.vocab.size(), hidden(), table);
}
absl::Status StageWalk::FinalNorm(Buffer& norm) { return visitor_.Floats("final_norm", hidden(), norm); }
absl::Status StageWalk::Head(Buffer& table) {
  return visitor_.Table("head", shard_.vocab.size(), hidden(), table);
}

absl::Status StageWalk::Layer(int64_t index, LayerWeights& layer) {
  const std::string prefix = absl::StrCat("layers.", index, ".");
  const int64_t width = int64_t{config_.shape.heads} * config_.shape.head_dim;
  TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "input_norm", hidden(), layer.input_norm));
  TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "post_norm", hidden(), layer.post_norm));
  if (config_.linear_norms) TERNION_RETURN_IF_ERROR(LinearNorms(prefix, layer));
  if (config_.sub_norms()) {
    TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "attn_sub_norm", width, layer.attn_sub_norm));
    TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "ffn_sub_norm", config_.shape.ffn, layer.ffn_sub_norm));
  }
  const MatrixForm qkv = config_.linear_norms ? Query() : Qkv();
  TERNION_RETURN_IF_ERROR(Linear(prefix + "qkv", TernaryLayout::kByOutput, qkv, layer.qkv));
  if (config_.linear_norms) {
    TERNION_RETURN_IF_ERROR(Linear(prefix + "key", TernaryLayout::kByOutput, Key(), layer.key));
    TERNION_RETURN_IF_ERROR(Linear(prefix + "value", TernaryLayout::kByOutput, Key(), layer.value));
  }
  TERNION_RETURN_IF_ERROR(Linear(prefix + "o", OutputLayout(config_), Output(), layer.o));
  TERNION_RETURN_IF_ERROR(Linear(prefix + "gate", TernaryLayout::kByOutput, Up(), layer.gate));
  TERNION_RETURN_IF_ERROR(Linear(prefix + "up", TernaryLayout::kByOutput, Up(), layer.up));
  return Linear(prefix + "down", DownLayout(config_), Down(), layer.down);
}

absl::Status StageWalk::Layer(int64_t index, FloatLayerWeights& layer) {
  const std::string prefix = absl::StrCat("layers.", index, ".");
  TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "input_norm", hidden(), layer.input_norm));
  TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "post_norm", hidden(), layer.post_norm));
  const Range hidden_inputs = {0, hidden()};
  const int64_t width = int64_t{config_.shape.heads} * config_.shape.head_dim;
  const auto walk = [&](const char* name, int64_t outputs, int64_t inputs, Range columns,
                        FloatLinear& linear) {
    return Linear(prefix + name, {outputs, columns.size()}, SharedGroup(config_, inputs, columns), linear);
  };
  if (config_.architecture->qkv_bias) {
    TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "qkv.bias", Qkv().outputs, layer.qkv.bias));
  }
  TERNION_RETURN_IF_ERROR(walk("qkv", Qkv().outputs, hidden(), hidden_inputs, layer.qkv));
  TERNION_RETURN_IF_ERROR(walk("o", hidden(), width, shard_.attention, layer.o));
  TERNION_RETURN_IF_ERROR(walk("gate", shard_.ffn.size(), hidden(), hidden_inputs, layer.gate));
  TERNION_RETURN_IF_ERROR(walk("up", shard_.ffn.size(), hidden(), hidden_inputs, layer.up));
  return walk("down", hidden(), config_.shape.ffn, shard_.ffn, layer.down);
}

absl::Status StageWalk::LinearNorms(const std::string& prefix, LayerWeights& layer) {
  TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "query_norm", hidden(), layer.query_norm));
  TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "key_norm", hidden(), layer.key_norm));
  TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "value_norm", hidden(), layer.value_norm));
  TERNION_RETURN_IF_ERROR(visitor_.Floats(prefix + "gate_norm", hidden(), layer.gate_norm));
  return visitor_.Floats(prefix + "up_norm", hidden(), layer.up_norm);
}

absl::Status StageWalk::Linear(const std::string& name, TernaryLayout layout, MatrixForm form,
                               TernaryLinear& linear) {
  TERNION_RETURN_IF_ERROR(visitor_.Floats(name + ".scale", form.outputs, linear.scale));
  return visitor_.Ternary(name + ".ternary", layout, form, linear.packed);
}

absl::Status StageWalk::Linear(const std::string& name, MatrixForm form, int64_t group, FloatLinear& linear) {
  if (config_.weight_kind == WeightKind::kDense) {
    if (!std::holds_alternative<DenseMatrix>(linear.matrix)) linear.matrix = DenseMatrix();
    return visitor_.Dense(name + ".dense", config_.dense, form, std::get<DenseMatrix>(linear.matrix));
  }
  UniformFormat format = config_.uniform;
  format.group = group;
  return visitor_.Uniform(name + ".uniform", format, form, std::get<PackedUniform>(linear.matrix));
}

MatrixForm StageWalk::Query() const {
  return {int64_t{shard_.heads.query_heads} * shard_.heads.head_dim, hidden()};
}
MatrixForm StageWalk::Key() const {
  return {int64_t{shard_.heads.kv_heads} * shard_.heads.head_dim, hidden()};
}
MatrixForm StageWalk::Qkv() const {
  const HeadShard& heads = shard_.heads;
  return {int64_t{heads.query_heads + 2 * heads.kv_heads} * heads.head_dim, hidden()};
}

}  // namespace ternion
