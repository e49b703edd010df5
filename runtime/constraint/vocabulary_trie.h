#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/text/tokenizer.h"

namespace ternion {

// The bytes of a tokenizer's ordinary tokens, as a tree in the order of a walk: a node, its first child and what is below
// that, the next child, ... Special tokens, and those of no bytes, are not in it.
class VocabularyTrie {
 public:
  struct Node {
    uint8_t byte = 0;
    int32_t depth = 0;  // bytes down to here, this one included
    int32_t end = 0;    // the node behind all that is below
    int32_t first_token = 0;
    int32_t last_token = 0;  // tokens()[first_token .. last_token) end here
  };

  explicit VocabularyTrie(const Tokenizer& tokenizer);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<int32_t>& tokens() const { return tokens_; }
  int32_t depth() const { return depth_; }  // of the deepest node
  int64_t vocab_size() const { return vocab_size_; }
  // None for a special token.
  std::string_view BytesOf(int32_t token) const;

 private:
  void Close(int32_t depth);
  void Add(int32_t token, std::string_view bytes);

  const Tokenizer* tokenizer_;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;  // by their bytes
  std::vector<int32_t> path_;    // nodes that are still open while the tree is made
  int32_t depth_ = 0;
  int64_t vocab_size_ = 0;
};

}  // namespace ternion
