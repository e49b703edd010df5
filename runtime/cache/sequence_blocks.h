#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "runtime/cache/block_pool.h"
#include "runtime/cache/kv_cache.h"

namespace ternion {

// The blocks that hold a sequence's positions, taken one by one as it grows.
class SequenceBlocks {
 public:
  // By position / kKvBlockTokens.
  const std::vector<int32_t>& table() const { return table_; }
  int64_t size() const { return static_cast<int64_t>(table_.size()); }

  // Starts with what the pool found: whole blocks are shared, a part is copied to a block of this sequence's own. Returns
  // the copy that must be made before the sequence's first step, if one must. The pool must have a block for the part.
  std::optional<BlockCopy> Share(BlockPool& pool, const PrefixTree::Match& match);
  // Takes blocks until there are `blocks`; false when the pool has not enough (those it had are kept).
  bool Grow(BlockPool& pool, int64_t blocks);
  // Tells the pool of the tokens that are in the cache, or will be when all planned steps have run: `tokens` is all of the
  // sequence's, from its beginning. Blocks of the table may change for others with the same contents.
  void Remember(BlockPool& pool, absl::Span<const int32_t> tokens);
  void DropAll(BlockPool& pool);

 private:
  std::vector<int32_t> table_;
  int64_t remembered_ = 0;  // tokens that the pool was told of
};

}  // namespace ternion
