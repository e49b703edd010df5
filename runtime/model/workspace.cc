#include "runtime/model/workspace.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/status.h"

namespace ternion {
namespace {

struct Need {
  Buffer Workspace::*buffer;
  int64_t bytes;
};

std::vector<Need> Needs(const ModelConfig& config, const LayerShard& shard, int64_t tokens) {
  const int64_t h = config.shape.hidden;
  const int64_t attention = shard.attention.size();
  const int64_t ffn = shard.ffn.size();
  const int64_t qkv = attention + int64_t{2} * shard.heads.kv_heads * shard.heads.head_dim;
  const int64_t row = std::max({h, attention, ffn});
  const int64_t output = std::max({h, qkv, ffn});
  const int64_t all_attention = int64_t{config.shape.heads} * config.shape.head_dim;
  const int64_t segment = std::min(shard.attention_segment, shard.ffn_segment);
  const int64_t segments = row / segment + 1;
  const int64_t all_segments = std::max({h, all_attention, config.shape.ffn}) / segment + 1;
  const int64_t separate = config.floats() || config.linear_norms ? 1 : 0;
  return {{&Workspace::residual, tokens * h * 4},
          {&Workspace::segments, tokens * segments * 4},
          {&Workspace::all_segments, tokens * all_segments * 4},
          {&Workspace::codes, tokens * row},
          {&Workspace::input_scales, tokens * 4},
          {&Workspace::scales, tokens * 4},
          {&Workspace::sums, tokens * output * 4},
          {&Workspace::reduced, tokens * h * 4},
          {&Workspace::wide, tokens * output * 4},
          {&Workspace::attention, tokens * attention * 4},
          {&Workspace::partial, tokens * h * 4},
          {&Workspace::delta, tokens * h * 4},
          {&Workspace::row_statistic, tokens * 4},
          {&Workspace::row_absmax, tokens * 4},
          {&Workspace::row_sum, tokens * 4},
          {&Workspace::normed, separate * tokens * h * 4},
          {&Workspace::column, separate * tokens * output * 4}};
}

}  // namespace

absl::StatusOr<Workspace> Workspace::Create(Backend& backend, const ModelConfig& config,
                                            const LayerShard& shard, int64_t tokens) {
  Workspace workspace;
  for (const Need& need : Needs(config, shard, tokens)) {
    if (need.bytes == 0) continue;
    TERNION_ASSIGN_OR_RETURN(workspace.*need.buffer, backend.Allocate(need.bytes));
  }
  return workspace;
}

int64_t Workspace::Bytes(const ModelConfig& config, const LayerShard& shard, int64_t tokens) {
  int64_t bytes = 0;
  for (const Need& need : Needs(config, shard, tokens)) bytes += need.bytes;
  return bytes;
}

}  // namespace ternion
