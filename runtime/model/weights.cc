#include "runtime/model/weights.h"

#include "runtime/checkpoint/float_loader.h"

namespace ternion {
namespace {

constexpr int64_t kWeightsPerByte = 4;

struct LayerSizes {
  int64_t linear_bytes = 0;  // weights, and groups' scales
  int64_t copy_bytes = 0;    // of ternary weights, on a GPU
  int64_t floats = 0;        // norms, biases, and scales of whole matrices
};

int64_t QkvOutputs(const LayerShard& shard) {
  return int64_t{shard.heads.query_heads + 2 * shard.heads.kv_heads} * shard.heads.head_dim;
}

LayerSizes SizesOfFloatLayer(const ModelConfig& config, const LayerShard& shard) {
  const int64_t h = config.shape.hidden;
  const int64_t attention = int64_t{config.shape.heads} * config.shape.head_dim;
  const auto bytes = [&](int64_t outputs, int64_t inputs, Range columns) {
    return FloatLinearBytes(config, outputs, inputs, columns);
  };
  LayerSizes sizes;
  sizes.linear_bytes = bytes(QkvOutputs(shard), h, {0, h}) + bytes(h, attention, shard.attention) +
                       2 * bytes(shard.ffn.size(), h, {0, h}) + bytes(h, config.shape.ffn, shard.ffn);
  sizes.floats = 2 * h + (config.architecture->qkv_bias ? QkvOutputs(shard) : 0);
  return sizes;
}

LayerSizes SizesOfLayer(const ModelConfig& config, const LayerShard& shard) {
  if (config.floats()) return SizesOfFloatLayer(config, shard);
  const int64_t h = config.shape.hidden;
  const int64_t qkv = QkvOutputs(shard);
  LayerSizes sizes;
  sizes.linear_bytes = (qkv + shard.attention.size() + 3 * shard.ffn.size()) * h / kWeightsPerByte;
  sizes.copy_bytes = ByInputCopyOf(OutputLayout(config), h, shard.attention.size()).bytes +
                     ByInputCopyOf(DownLayout(config), h, shard.ffn.size()).bytes;
  const int64_t scales = qkv + h + 2 * shard.ffn.size() + h;
  const int64_t attention = int64_t{config.shape.heads} * config.shape.head_dim;
  const int64_t sub_norms = config.sub_norms() ? attention + config.shape.ffn : 0;
  const int64_t linear_norms = config.linear_norms ? 5 * h : 0;
  sizes.floats = 2 * h + sub_norms + linear_norms + scales;
  return sizes;
}

}  // namespace

absl::StatusOr<StageWeights> WeightSource::Load(const ProcessGrid& grid, Backend& backend,
                                                LoadProgress progress) {
  return LoadParts(grid, backend, progress, [](StageWeights&) { return absl::OkStatus(); });
}

WeightMemory PredictWeightMemory(const ModelConfig& config, const ProcessGrid& grid, bool cuda) {
  const LayerShard shard = ShardLayer(config.shape, grid.tp, grid.tp_rank());
  const LayerSizes layer = SizesOfLayer(config, shard);
  const int64_t layers = StageLayers(config.shape, grid.pp, grid.stage()).size();
  const int64_t table_bytes =
      shard.vocab.size() * config.shape.hidden * static_cast<int64_t>(sizeof(BFloat16));
  // When tied, one copy serves the first and the last stage's rank alike.
  const int64_t tables = grid.first_stage() + grid.last_stage() -
                         (config.tied_embeddings && grid.first_stage() && grid.last_stage() ? 1 : 0);
  WeightMemory memory;
  memory.linear_bytes = layers * (layer.linear_bytes + (cuda ? layer.copy_bytes : 0));
  memory.embedding_bytes = tables * table_bytes;
  memory.other_bytes = layers * layer.floats * static_cast<int64_t>(sizeof(float));
  if (grid.last_stage()) memory.other_bytes += config.shape.hidden * static_cast<int64_t>(sizeof(float));
  return memory;
}

TernaryLayout OutputLayout(const ModelConfig& config) {
  return config.attention_topk < 1 ? TernaryLayout::kByInput : TernaryLayout::kByOutput;
}

TernaryLayout DownLayout(const ModelConfig& config) {
  return config.activation == Activation::kRelu2 ? TernaryLayout::kByInput : TernaryLayout::kByOutput;
}

}  // namespace ternion
