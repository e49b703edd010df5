#include "launcher/kv_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "launcher/options.h"
#include "runtime/model/weights.h"
#include "runtime/model/workspace.h"

namespace ternion {
namespace {

// Bytes that the KV cache may take where `left` are left beside the weights.
int64_t ShareForCache(const ModelConfig& config, const ProcessGrid& grid, const KvRoom& room, int64_t left) {
  if (!room.cuda) return left / 2;  // a host's memory is not for one program alone
  const LayerShard shard = ShardLayer(config.shape, grid.tp, grid.tp_rank());
  const int64_t workspace = Workspace::Bytes(config, shard, room.max_batch_tokens);
  // The rest is for recorded steps and what libraries take.
  return (left - workspace) / 10 * 9;
}

}  // namespace

int64_t KvBlockBytes(const ModelConfig& config, const ProcessGrid& grid, KvFormat format) {
  const HeadShard heads = ShardLayer(config.shape, grid.tp, grid.tp_rank()).heads;
  return StageLayers(config.shape, grid.pp, grid.stage()).size() * KvCache::BlockBytes(format, heads);
}

absl::StatusOr<int64_t> KvBlocksThatFit(const ModelConfig& config, const ProcessGrid& grid, KvFormat format,
                                        const KvRoom& room) {
  const int64_t block_bytes = KvBlockBytes(config, grid, format);
  if (room.kv_memory == "auto") {
    const int64_t left = room.available_bytes - PredictWeightMemory(config, grid, room.cuda).total();
    return std::max<int64_t>(1, ShareForCache(config, grid, room, left) / block_bytes);
  }
  TERNION_ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(room.kv_memory));
  if (bytes >= block_bytes) return bytes / block_bytes;
  return absl::InvalidArgumentError(absl::StrCat("--kv-memory ", room.kv_memory, " is less than a block of ",
                                                 kKvBlockTokens, " tokens, ", block_bytes, " bytes"));
}

}  // namespace ternion
