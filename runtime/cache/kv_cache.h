#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/kv.h"

namespace ternion {

// f32, f16, int8, int4, int3, int4-g32, int3-g32; kInvalidArgument with the names.
absl::StatusOr<KvFormat> ParseKvFormat(std::string_view name);
std::string_view KvFormatName(KvFormat format);
// kInvalidArgument where heads of so many channels cannot be stored in this format.
absl::Status CheckKvFormat(KvFormat format, int head_dim);

// The KV blocks of a stage's layers on one rank. A block id means the same positions on every rank and layer: rank 0's
// BlockAllocator gives ids out, every rank holds its own layers' and heads' share of them.
class KvCache {
 public:
  // As CheckKvFormat; kResourceExhausted with the number of bytes. `query_bits`: KvLayer's. Memory is touched only when
  // written.
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(Backend& backend, KvFormat format, int query_bits,
                                                         int64_t layers, int64_t blocks,
                                                         const HeadShard& heads);

  // Bytes of one block of one layer.
  static int64_t BlockBytes(KvFormat format, const HeadShard& heads);

  // layer: counted from the stage's first.
  const KvLayer& layer(int64_t layer) const { return layers_[layer]; }

 private:
  std::vector<Buffer> buffers_;
  std::vector<KvLayer> layers_;
};

// Hands out the ids 0 .. blocks-1.
class BlockAllocator {
 public:
  explicit BlockAllocator(int64_t blocks);

  int64_t free_blocks() const { return static_cast<int64_t>(free_.size()); }
  int64_t blocks() const { return blocks_; }
  // `count` ids, or none of them when fewer are free.
  std::vector<int32_t> Take(int64_t count);
  void Give(const std::vector<int32_t>& ids);

 private:
  int64_t blocks_;
  std::vector<int32_t> free_;
};

// Blocks that hold `positions` positions.
inline int64_t BlocksFor(int64_t positions) { return (positions + kKvBlockTokens - 1) / kKvBlockTokens; }

}  // namespace ternion
