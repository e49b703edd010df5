#include "runtime/constraint/vocabulary_trie.h"

#include <algorithm>

namespace ternion {

VocabularyTrie::VocabularyTrie(const Tokenizer& tokenizer)
    : tokenizer_(&tokenizer), vocab_size_(tokenizer.vocab_size()) {
  for (int32_t token = 0; token < vocab_size_; ++token) {
    if (!BytesOf(token).empty()) tokens_.push_back(token);
  }
  std::sort(tokens_.begin(), tokens_.end(), [this](int32_t a, int32_t b) {
    const int order = BytesOf(a).compare(BytesOf(b));
    return order != 0 ? order < 0 : a < b;
  });
  std::string_view before;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view bytes = BytesOf(tokens_[i]);
    const auto common = std::mismatch(before.begin(), before.end(), bytes.begin(), bytes.end());
    Close(static_cast<int32_t>(common.first - before.begin()));
    Add(static_cast<int32_t>(i), bytes);
    before = bytes;
  }
  Close(0);
}

std::string_view VocabularyTrie::BytesOf(int32_t token) const {
  return tokenizer_->IsSpecial(token) ? std::string_view() : tokenizer_->TokenBytes(token);
}

// Nothing more comes below the nodes that are deeper.
void VocabularyTrie::Close(int32_t depth) {
  for (; static_cast<int32_t>(path_.size()) > depth; path_.pop_back()) {
    nodes_[path_.back()].end = static_cast<int32_t>(nodes_.size());
  }
}

void VocabularyTrie::Add(int32_t token, std::string_view bytes) {
  while (path_.size() < bytes.size()) {
    const auto byte = static_cast<uint8_t>(bytes[path_.size()]);
    path_.push_back(static_cast<int32_t>(nodes_.size()));
    nodes_.push_back({byte, static_cast<int32_t>(path_.size()), 0, token, token});
  }
  ++nodes_[path_.back()].last_token;
  depth_ = std::max(depth_, static_cast<int32_t>(bytes.size()));
}

}  // namespace ternion
