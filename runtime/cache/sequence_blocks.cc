#include "runtime/cache/sequence_blocks.h"

#include <algorithm>

#include "kernels/check.h"

namespace ternion {

std::optional<BlockCopy> SequenceBlocks::Share(BlockPool& pool, const PrefixTree::Match& match) {
  CHECK(table_.empty(), "a sequence begins without blocks");
  for (const int32_t block : match.whole) {
    pool.Hold(block);
    pool.Touch(block);
  }
  table_ = match.whole;
  remembered_ = static_cast<int64_t>(table_.size()) * kKvBlockTokens;
  if (match.part == PrefixTree::kNone) return std::nullopt;
  pool.Touch(match.part);  // so that it is the block taken only where it is the last
  table_.push_back(pool.Take());
  if (table_.back() == match.part) return std::nullopt;
  return BlockCopy{match.part, table_.back()};
}

bool SequenceBlocks::Grow(BlockPool& pool, int64_t blocks) {
  while (size() < blocks) {
    if (pool.available() == 0) return false;
    table_.push_back(pool.Take());
  }
  return true;
}

void SequenceBlocks::Remember(BlockPool& pool, absl::Span<const int32_t> tokens) {
  if (!pool.remembers()) return;
  const auto count = static_cast<int64_t>(tokens.size());
  while (remembered_ < count) {
    const int64_t index = remembered_ / kKvBlockTokens;
    const int64_t end = std::min(count, (index + 1) * kKvBlockTokens);
    const int32_t parent = index == 0 ? PrefixTree::kNone : table_[index - 1];
    table_[index] = pool.Remember(table_[index], parent, tokens.subspan(remembered_, end - remembered_));
    remembered_ = end;
  }
}

void SequenceBlocks::DropAll(BlockPool& pool) {
  while (!table_.empty()) {
    pool.Drop(table_.back());
    table_.pop_back();
  }
  remembered_ = 0;
}

}  // namespace ternion
