#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "runtime/cache/prefix_tree.h"

namespace ternion {

// The ids of the KV blocks, 0 .. blocks-1, and who holds them. A block may have several holders; one that nobody holds any
// more keeps its contents, where they are known, until the block is needed: of such the one unused for longest goes first.
//
// Holders take all blocks from a sequence's beginning to some position, and drop them from the last one to the first
// (SequenceBlocks does). So a block that nobody holds lies behind its children in the order of their going.
class BlockPool {
 public:
  // `remembers`: contents are kept; otherwise Find finds nothing.
  BlockPool(int64_t blocks, bool remembers);

  int64_t blocks() const { return static_cast<int64_t>(blocks_.size()); }
  // Blocks that nobody holds.
  int64_t available() const { return available_; }
  bool is_held(int32_t block) const { return blocks_[block].holders > 0; }
  bool remembers() const { return remembers_; }

  // A block for one holder, contents undefined; available() must not be 0.
  int32_t Take();
  // One holder more.
  void Hold(int32_t block);
  // One holder less.
  void Drop(int32_t block);

  PrefixTree::Match Find(absl::Span<const int32_t> tokens) const;
  // To be called of the blocks of a Match that is used, whole ones and the part's: they stay longest.
  void Touch(int32_t block);
  // Tells which tokens a held block holds, behind those told before; `parent` is the block before it in the sequence, or
  // PrefixTree::kNone. Returns the block that the holder has from now on: this one, or an equal one in its place.
  int32_t Remember(int32_t block, int32_t parent, absl::Span<const int32_t> tokens);

 private:
  struct Block {
    int32_t holders = 0;
    int32_t next = 0;  // of those that nobody holds, a ring through the sentinel
    int32_t previous = 0;
  };
  Block& at(int32_t block) { return block == kSentinel ? sentinel_ : blocks_[block]; }
  void InsertBefore(int32_t block, int32_t next);
  void Unlink(int32_t block);

  static constexpr int32_t kSentinel = -1;
  const bool remembers_;
  std::vector<Block> blocks_;
  Block sentinel_;  // next: the block that goes first
  int64_t available_ = 0;
  PrefixTree tree_;
};

}  // namespace ternion
