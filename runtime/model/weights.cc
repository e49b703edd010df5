#include "runtime/model/weights.h"

namespace ternion {
namespace {

constexpr int64_t kWeightsPerByte = 4;

struct LayerSizes {
  int64_t ternary = 0;  // weights
  int64_t copies = 0;   // bytes, on a GPU
  int64_t floats = 0;   // norms and scales
};

LayerSizes SizesOfLayer(const ModelConfig& config, const LayerShard& shard) {
  const int64_t h = config.shape.hidden;
  const int64_t qkv = int64_t{shard.heads.query_heads + 2 * shard.heads.kv_heads} * shard.heads.head_dim;
  LayerSizes sizes;
  sizes.ternary = (qkv + shard.attention.size() + 3 * shard.ffn.size()) * h;
  sizes.copies = ByInputCopyOf(OutputLayout(config), h, shard.attention.size()).bytes +
                 ByInputCopyOf(DownLayout(config), h, shard.ffn.size()).bytes;
  const int64_t scales = qkv + h + 2 * shard.ffn.size() + h;
  const int64_t attention = int64_t{config.shape.heads} * config.shape.head_dim;
  const int64_t sub_norms = config.sub_norms ? attention + config.shape.ffn : 0;
  sizes.floats = 2 * h + sub_norms + scales;
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
  memory.ternary_bytes = layers * (layer.ternary / kWeightsPerByte + (cuda ? layer.copies : 0));
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
