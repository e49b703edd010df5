#include "runtime/cache/block_pool.h"

#include "kernels/check.h"

namespace ternion {

BlockPool::BlockPool(int64_t blocks, bool remembers)
    : remembers_(remembers), blocks_(static_cast<size_t>(blocks)), tree_(remembers ? blocks : 0) {
  sentinel_ = {0, kSentinel, kSentinel};
  for (int32_t block = 0; block < static_cast<int32_t>(blocks); ++block) InsertBefore(block, kSentinel);
}

int32_t BlockPool::Take() {
  const int32_t block = sentinel_.next;
  CHECK(block != kSentinel, "a block is available");
  if (remembers_ && tree_.Contains(block)) tree_.Remove(block);
  Hold(block);
  return block;
}

void BlockPool::Hold(int32_t block) {
  if (blocks_[block].holders++ == 0) Unlink(block);
}

void BlockPool::Drop(int32_t block) {
  CHECK(is_held(block), "a block was dropped once too often");
  if (--blocks_[block].holders > 0) return;
  if (remembers_ && tree_.Contains(block) && tree_.IsSuperfluous(block)) tree_.Remove(block);
  const bool keep = remembers_ && tree_.Contains(block);
  InsertBefore(block, keep ? kSentinel : sentinel_.next);
}

PrefixTree::Match BlockPool::Find(absl::Span<const int32_t> tokens) const {
  return remembers_ ? tree_.Find(tokens) : PrefixTree::Match();
}

void BlockPool::Touch(int32_t block) {
  tree_.Touch(block);
  if (is_held(block)) return;
  Unlink(block);
  InsertBefore(block, kSentinel);
}

int32_t BlockPool::Remember(int32_t block, int32_t parent, absl::Span<const int32_t> tokens) {
  CHECK(is_held(block), "contents are told by a holder");
  if (!remembers_) return block;
  if (!tree_.Contains(block)) tree_.Add(block, parent);
  const int32_t kept = tree_.Append(block, tokens);
  if (kept == block) return block;
  Hold(kept);
  Drop(block);
  return kept;
}

void BlockPool::InsertBefore(int32_t block, int32_t next) {
  const int32_t previous = at(next).previous;
  blocks_[block].next = next;
  blocks_[block].previous = previous;
  at(next).previous = block;
  at(previous).next = block;
  ++available_;
}

void BlockPool::Unlink(int32_t block) {
  at(blocks_[block].previous).next = blocks_[block].next;
  at(blocks_[block].next).previous = blocks_[block].previous;
  --available_;
}

}  // namespace ternion
