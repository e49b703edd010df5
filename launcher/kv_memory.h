#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "parallel/process_grid.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/config.h"

namespace ternion {

// What a rank's KV cache may take.
struct KvRoom {
  std::string kv_memory;        // --kv-memory: bytes, or auto: a share of what is free beside the weights
  bool cuda = false;            // on a GPU, else in a host's memory
  int64_t available_bytes = 0;  // that the rank may take for weights and all else
  int64_t max_batch_tokens = 0;
};

// Bytes of one block in all layers of a rank.
int64_t KvBlockBytes(const ModelConfig& config, const ProcessGrid& grid, KvFormat format);

// The blocks that fit on a rank. kInvalidArgument where --kv-memory is no number of bytes, or less than a block; auto
// gives one block at least.
absl::StatusOr<int64_t> KvBlocksThatFit(const ModelConfig& config, const ProcessGrid& grid, KvFormat format,
                                        const KvRoom& room);

}  // namespace ternion
