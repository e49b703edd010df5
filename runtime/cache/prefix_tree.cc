#include "runtime/cache/prefix_tree.h"

#include <xxhash.h>

#include <algorithm>

#include "kernels/check.h"

namespace ternion {

uint64_t PrefixTree::Xxh3(uint64_t parent, absl::Span<const int32_t> tokens) {
  return XXH3_64bits_withSeed(tokens.data(), tokens.size() * sizeof(int32_t), parent);
}

PrefixTree::PrefixTree(int64_t blocks, Hash hash) : hash_(hash), nodes_(static_cast<size_t>(blocks) + 1) {}

PrefixTree::Match PrefixTree::Find(absl::Span<const int32_t> tokens) const {
  Match match;
  auto at = static_cast<int32_t>(nodes_.size()) - 1;
  while (tokens.size() >= kKvBlockTokens) {
    const auto next = tokens.first(kKvBlockTokens);
    const int32_t child = FindWhole(at, next, hash_(nodes_[at].hash, next));
    if (child == kNone) break;
    match.whole.push_back(child);
    tokens.remove_prefix(kKvBlockTokens);
    at = child;
  }
  int looked_at = 0;
  for (int32_t child = nodes_[at].first_child; child != kNone && looked_at < kMostCandidates;
       child = nodes_[child].next, ++looked_at) {
    const int64_t common = CommonPrefix(nodes_[child].held(), tokens);
    if (common < kLeastPart || common <= match.part_tokens) continue;
    match.part = child;
    match.part_tokens = common;
  }
  return match;
}

int32_t PrefixTree::FindWhole(int32_t parent, absl::Span<const int32_t> tokens, uint64_t hash) const {
  const auto found = whole_.find(hash);
  if (found == whole_.end()) return kNone;
  const Node& node = nodes_[found->second];
  return node.parent == parent && node.held() == tokens ? found->second : kNone;
}

void PrefixTree::Add(int32_t block, int32_t parent) {
  CHECK(!Contains(block), "a block has one place in the tree");
  const auto root = static_cast<int32_t>(nodes_.size()) - 1;
  CHECK(parent == kNone || (Contains(parent) && tokens(parent) == kKvBlockTokens), "a parent is whole");
  Link(block, parent == kNone ? root : parent);
}

int32_t PrefixTree::Append(int32_t block, absl::Span<const int32_t> tokens) {
  Node& node = nodes_[block];
  CHECK(Contains(block) && node.count + tokens.size() <= kKvBlockTokens, "a tail has room for its tokens");
  std::copy(tokens.begin(), tokens.end(), node.tokens.begin() + node.count);
  node.count += static_cast<int32_t>(tokens.size());
  if (node.count < kKvBlockTokens) return block;
  node.hash = hash_(nodes_[node.parent].hash, node.held());
  const int32_t equal = FindWhole(node.parent, node.held(), node.hash);
  if (equal != kNone) {
    Remove(block);
    return equal;
  }
  whole_.try_emplace(node.hash, block);  // of two different ones with this hash the second is never found
  return block;
}

void PrefixTree::Remove(int32_t block) {
  Node& node = nodes_[block];
  CHECK(Contains(block) && node.first_child == kNone, "children leave the tree before their parent");
  const auto found = node.count == kKvBlockTokens ? whole_.find(node.hash) : whole_.end();
  if (found != whole_.end() && found->second == block) whole_.erase(found);
  Unlink(block);
  node.parent = kNone;
  node.count = 0;
}

void PrefixTree::Touch(int32_t block) {
  const int32_t parent = nodes_[block].parent;
  if (nodes_[parent].first_child == block) return;
  Unlink(block);
  Link(block, parent);
}

bool PrefixTree::IsSuperfluous(int32_t block) const {
  const Node& node = nodes_[block];
  if (node.count == kKvBlockTokens) return false;
  if (node.count < kLeastPart) return true;
  int looked_at = 0;
  for (int32_t other = nodes_[node.parent].first_child; other != kNone && looked_at < kMostCandidates;
       other = nodes_[other].next, ++looked_at) {
    if (other != block && CommonPrefix(nodes_[other].held(), node.held()) == node.count) return true;
  }
  return false;
}

void PrefixTree::Link(int32_t block, int32_t parent) {
  Node& node = nodes_[block];
  node.parent = parent;
  node.previous = kNone;
  node.next = nodes_[parent].first_child;
  if (node.next != kNone) nodes_[node.next].previous = block;
  nodes_[parent].first_child = block;
}

void PrefixTree::Unlink(int32_t block) {
  const Node& node = nodes_[block];
  (node.previous == kNone ? nodes_[node.parent].first_child : nodes_[node.previous].next) = node.next;
  if (node.next != kNone) nodes_[node.next].previous = node.previous;
}

int64_t CommonPrefix(absl::Span<const int32_t> a, absl::Span<const int32_t> b) {
  const size_t shorter = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + shorter, b.begin()).first - a.begin();
}

}  // namespace ternion
