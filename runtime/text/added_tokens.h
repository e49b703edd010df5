#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/text/json_node.h"
#include "runtime/text/normalizer.h"
#include "runtime/text/text_range.h"
#include "runtime/text/vocabulary.h"

namespace ternion {

// A part of a text: an added token, or plain text for the model.
struct TextPart {
  int32_t id;             // -1: plain text
  std::string_view text;  // of the text, or the token's content
};

// Finds added tokens that stand in a text: from left to right, the longest at each place. Tokens with
// `normalized` are looked for in a second pass, in what the first left, once that is normalized. Immutable.
class AddedTokens {
 public:
  // The `added_tokens` of a tokenizer.json; they are put into `vocabulary` too. kInvalidArgument.
  static absl::StatusOr<AddedTokens> FromJson(const JsonNode& tokens, const Normalizer& normalizer,
                                              Vocabulary& vocabulary);

  // All of a text (UTF-8), in order. White space that a token's lstrip or rstrip takes is in no part's plain
  // text. No token has a byte in one of the ranges `plain`, which are in order and apart.
  std::vector<TextPart> Split(std::string_view text, absl::Span<const TextRange> plain) const;
  // The second pass: the same of a part of plain text that has been normalized, with the tokens that are normalized too.
  std::vector<TextPart> SplitNormalized(std::string_view text, absl::Span<const TextRange> plain) const;
  // Does the second pass find anything ever?
  bool any_normalized() const { return !normalized_.empty(); }

 private:
  struct Token {
    std::string content;
    std::string pattern;  // what is looked for: the content, or what the normalizer makes of it
    int32_t id = -1;
    bool single_word = false;  // only where no word character stands before or after it
    bool lstrip = false;       // takes the white space before it
    bool rstrip = false;       // takes the white space after it
  };
  // All contents of one pass.
  class Trie {
   public:
    void Insert(std::string_view content, int token);
    // The index of the longest token that `text` begins with; -1: none.
    int Longest(std::string_view text) const;
    bool empty() const { return nodes_.size() == 1; }

   private:
    struct Node {
      absl::flat_hash_map<char, int> children;
      int token = -1;
    };
    std::vector<Node> nodes_{1};
    std::array<bool, 256> first_bytes_{};
  };

  std::vector<TextPart> SplitBy(const Trie& trie, std::string_view text,
                                absl::Span<const TextRange> plain_ranges) const;

  std::vector<Token> tokens_;
  Trie exact_;
  Trie normalized_;
};

}  // namespace ternion
