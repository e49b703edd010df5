#include "launcher/roofline.h"

#include <algorithm>

#include "runtime/cache/kv_cache.h"
#include "runtime/model/weights.h"

namespace ternion {

int64_t StepBytes(const ModelConfig& config, const ProcessGrid& grid, KvFormat format, int64_t positions) {
  const ModelShape& shape = config.shape;
  const LayerShard shard = ShardLayer(shape, grid.tp, grid.tp_rank());
  const WeightMemory weights = PredictWeightMemory(config, grid);
  const int64_t layers = StageLayers(shape, grid.pp, grid.stage()).size();
  const int64_t table = shard.vocab.size() * shape.hidden * static_cast<int64_t>(sizeof(BFloat16));
  const int64_t cached = layers * positions * KvCache::BlockBytes(format, shard.heads) / kKvBlockTokens;
  return weights.linear_bytes + weights.other_bytes + (grid.last_stage() ? table : 0) + cached;
}

double RooflineSeconds(const ModelConfig& config, int tp, int pp, KvFormat format, int64_t positions,
                       int micro_batches, double bytes_a_second) {
  int64_t most = 0;
  int64_t all = 0;
  for (int stage = 0; stage < pp; ++stage) {
    int64_t bytes = 0;
    for (int r = 0; r < tp; ++r) {
      bytes = std::max(bytes, StepBytes(config, {tp, pp, stage * tp + r}, format, positions));
    }
    most = std::max(most, bytes);
    all += bytes;
  }
  return std::max(static_cast<double>(most), static_cast<double>(all) / micro_batches) / bytes_a_second;
}

}  // namespace ternion
