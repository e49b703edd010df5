#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "kernels/kv.h"

namespace ternion {

// Which tokens the KV blocks hold, as a tree: a block's parent holds the kKvBlockTokens positions before it, so a path
// from the root is the beginning of a sequence. A block that holds fewer tokens than it could is a tail; it has no
// children, and may get more tokens.
//
// Whole blocks are found by a hash of their parent's hash and their tokens; parent and tokens are compared as well, so that
// equal hashes cost a hit and never give wrong tokens.
class PrefixTree {
 public:
  static constexpr int32_t kNone = -1;
  // Fewer equal tokens than these are computed again rather than copied: copying a block takes about as long.
  static constexpr int64_t kLeastPart = 8;
  // Blocks that are looked at for a part of them, of those with one parent: the ones used last.
  static constexpr int kMostCandidates = 64;

  // Of a block, from its parent's (0 at the root) and its tokens.
  using Hash = uint64_t (*)(uint64_t parent, absl::Span<const int32_t> tokens);
  static uint64_t Xxh3(uint64_t parent, absl::Span<const int32_t> tokens);

  // Blocks are 0 .. blocks-1; none is in the tree.
  explicit PrefixTree(int64_t blocks, Hash hash = Xxh3);

  // The longest beginning of a sequence that blocks hold.
  struct Match {
    std::vector<int32_t> whole;  // blocks all of whose tokens are the sequence's
    int32_t part = kNone;        // the block of which the next tokens are the sequence's, but not all
    int64_t part_tokens = 0;     // at least kLeastPart, where there is such a block

    int64_t tokens() const { return static_cast<int64_t>(whole.size()) * kKvBlockTokens + part_tokens; }
  };
  Match Find(absl::Span<const int32_t> tokens) const;

  // Puts a block without tokens below `parent`, a whole block in the tree or kNone for the root.
  void Add(int32_t block, int32_t parent);
  // Adds tokens to a tail. When that makes it whole and the tree has an equal block already, the tail leaves the tree and
  // the equal one is returned; else `block` is.
  int32_t Append(int32_t block, absl::Span<const int32_t> tokens);
  // The block must have no children.
  void Remove(int32_t block);
  // Makes the block the first of its parent's candidates.
  void Touch(int32_t block);

  bool Contains(int32_t block) const { return nodes_[block].parent != kNone; }
  int64_t tokens(int32_t block) const { return nodes_[block].count; }
  // Whether Find could give all of a tail's tokens from another block, or would not give them because they are few.
  bool IsSuperfluous(int32_t block) const;

 private:
  struct Node {
    int32_t parent = kNone;  // kNone: not in the tree
    int32_t first_child = kNone;
    int32_t next = kNone;  // of the parent's children
    int32_t previous = kNone;
    int32_t count = 0;  // of tokens
    uint64_t hash = 0;  // of a whole block
    std::array<int32_t, kKvBlockTokens> tokens;

    absl::Span<const int32_t> held() const { return {tokens.data(), static_cast<size_t>(count)}; }
  };

  void Link(int32_t block, int32_t parent);
  void Unlink(int32_t block);
  // The whole child with these tokens, or kNone.
  int32_t FindWhole(int32_t parent, absl::Span<const int32_t> tokens, uint64_t hash) const;

  Hash hash_;
  std::vector<Node> nodes_;  // by block; the last is the root
  absl::flat_hash_map<uint64_t, int32_t> whole_;
};

// How many tokens a and b begin with in common.
int64_t CommonPrefix(absl::Span<const int32_t> a, absl::Span<const int32_t> b);

}  // namespace ternion
