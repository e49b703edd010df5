#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/text/tokenizer.h"

namespace ternion {

// The bytes of a tokenizer's ordinary tokens, as trees in the order of a walk: a node, its first child and what is below
// that, the next child, ... Special tokens, and those of no bytes, are not in them.
class VocabularyTrie {
 public:
  // Tokens of about one length share a tree: what is found out with one holds for every text that goes on alike for as many
  // bytes as its longest token has. Most are short.
  static constexpr std::array<int64_t, 2> kTreeBytes = {12, 32};  // the third has those that are longer

  struct Node {
    uint8_t byte = 0;
    int32_t depth = 0;  // bytes down to here, this one included
    int32_t end = 0;    // the node behind all that is below
    int32_t first_token = 0;
    int32_t last_token = 0;  // tokens[first_token .. last_token) end here
  };
  struct Tree {
    std::vector<Node> nodes;
    std::vector<int32_t> tokens;  // by their bytes
    int32_t depth = 0;            // of the deepest node
  };

  explicit VocabularyTrie(const Tokenizer& tokenizer);

  const std::array<Tree, kTreeBytes.size() + 1>& trees() const { return trees_; }
  int64_t vocab_size() const { return vocab_size_; }
  // None for a special token.
  std::string_view BytesOf(int32_t token) const;

 private:
  Tree TreeOf(std::vector<int32_t> tokens) const;

  const Tokenizer* tokenizer_;
  std::array<Tree, kTreeBytes.size() + 1> trees_;
  int64_t vocab_size_ = 0;
};

}  // namespace ternion
