#include "runtime/cache/kv_cache.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {

absl::StatusOr<KvFormat> ParseKvFormat(std::string_view name) {
  if (name == "f32") return KvFormat::kF32;
  if (name == "f16") return KvFormat::kF16;
  return absl::InvalidArgumentError(
      absl::StrCat("--kv-cache ", ToAbsl(name), ": this version has f32 and f16"));
}

std::string_view KvFormatName(KvFormat format) { return format == KvFormat::kF32 ? "f32" : "f16"; }

int64_t KvCache::BlockBytes(KvFormat format, const HeadShard& heads) {
  const int64_t value_bytes = format == KvFormat::kF32 ? 4 : 2;
  return int64_t{2} * heads.kv_heads * heads.head_dim * kKvBlockTokens * value_bytes;
}

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(Backend& backend, KvFormat format, int64_t layers,
                                                         int64_t blocks, const HeadShard& heads) {
  auto cache = std::make_unique<KvCache>();
  for (int64_t i = 0; i < layers; ++i) {
    TERNION_ASSIGN_OR_RETURN(Buffer buffer, backend.Allocate(blocks * BlockBytes(format, heads)));
    cache->layers_.push_back({buffer.data(), format, blocks, heads.kv_heads, heads.head_dim});
    cache->buffers_.push_back(std::move(buffer));
  }
  return cache;
}

BlockAllocator::BlockAllocator(int64_t blocks) : blocks_(blocks) {
  for (int64_t id = blocks - 1; id >= 0; --id) free_.push_back(static_cast<int32_t>(id));
}

std::vector<int32_t> BlockAllocator::Take(int64_t count) {
  if (count > free_blocks()) return {};
  std::vector<int32_t> ids(free_.end() - count, free_.end());
  free_.resize(free_.size() - count);
  return ids;
}

void BlockAllocator::Give(const std::vector<int32_t>& ids) {
  free_.insert(free_.end(), ids.begin(), ids.end());
  CHECK(free_blocks() <= blocks_, "a block was given back twice");
}

}  // namespace ternion
