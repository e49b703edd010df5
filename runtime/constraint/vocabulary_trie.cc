#include "runtime/constraint/vocabulary_trie.h"

#include <algorithm>
#include <utility>

namespace ternion {

VocabularyTrie::VocabularyTrie(const Tokenizer& tokenizer)
    : tokenizer_(&tokenizer), vocab_size_(tokenizer.vocab_size()) {
  std::array<std::vector<int32_t>, kTreeBytes.size() + 1> tokens;
  for (int32_t token = 0; token < vocab_size_; ++token) {
    const auto bytes = static_cast<int64_t>(BytesOf(token).size());
    const auto tree = std::lower_bound(kTreeBytes.begin(), kTreeBytes.end(), bytes) - kTreeBytes.begin();
    if (bytes > 0) tokens[static_cast<size_t>(tree)].push_back(token);
  }
  for (size_t i = 0; i < trees_.size(); ++i) trees_[i] = TreeOf(std::move(tokens[i]));
}

std::string_view VocabularyTrie::BytesOf(int32_t token) const {
  return tokenizer_->IsSpecial(token) ? std::string_view() : tokenizer_->TokenBytes(token);
}

VocabularyTrie::Tree VocabularyTrie::TreeOf(std::vector<int32_t> tokens) const {
  std::sort(tokens.begin(), tokens.end(), [this](int32_t a, int32_t b) {
    const int order = BytesOf(a).compare(BytesOf(b));
    return order != 0 ? order < 0 : a < b;
  });
  Tree tree;
  std::vector<int32_t> path;  // the nodes that are still open
  // Nothing more comes below the nodes that are deeper.
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back())
      tree.nodes[path.back()].end = static_cast<int32_t>(tree.nodes.size());
  };
  std::string_view before;
  for (int32_t i = 0; i < static_cast<int32_t>(tokens.size()); ++i) {
    const std::string_view bytes = BytesOf(tokens[i]);
    close(std::mismatch(before.begin(), before.end(), bytes.begin(), bytes.end()).first - before.begin());
    while (path.size() < bytes.size()) {
      const auto byte = static_cast<uint8_t>(bytes[path.size()]);
      path.push_back(static_cast<int32_t>(tree.nodes.size()));
      tree.nodes.push_back({byte, static_cast<int32_t>(path.size()), 0, i, i});
    }
    ++tree.nodes[path.back()].last_token;
    tree.depth = std::max(tree.depth, static_cast<int32_t>(bytes.size()));
    before = bytes;
  }
  close(0);
  tree.tokens = std::move(tokens);
  return tree;
}

}  // namespace ternion
