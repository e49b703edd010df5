#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/text/json_node.h"
#include "runtime/text/token_decoder.h"

namespace ternion {

// The ids of a tokenizer and the bytes they stand for.
class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  // The `model.vocab` of a tokenizer.json. `byte_level`: words are bytes, and spelled by characters (byte_level.h).
  // kInvalidArgument: an id that is no integer in [0, 2^22), or is there twice.
  static absl::StatusOr<Vocabulary> FromJson(const JsonNode& vocab, const TokenDecoder& decoder,
                                             bool byte_level);

  // Adds a token that its model spells so. kInvalidArgument: the id or the spelling is taken, or the id is out of range.
  absl::Status Add(int64_t id, std::string_view spelling, std::string bytes, bool special);
  // Adds a token of `added_tokens`; one that the model lacks stands for its content as it is.
  // kInvalidArgument: the id or the content is taken by another token, or the id is out of range.
  absl::Status AddToken(int64_t id, std::string_view content, bool special);

  // The model's token of this word.
  std::optional<int32_t> Find(std::string_view word) const;
  template <typename Visit>
  void ForEachWord(const Visit& visit) const {  // (word, id), in no order
    for (const auto& [word, id] : by_word_) visit(word, id);
  }
  // By an added token's content, or by the key of `model.vocab`.
  std::optional<int32_t> FindSpelling(std::string_view spelling) const;

  bool Contains(int64_t id) const { return id >= 0 && id < size() && tokens_[id].used; }
  std::string_view Bytes(int32_t id) const { return Contains(id) ? tokens_[id].bytes : std::string_view(); }
  bool IsSpecial(int32_t id) const { return Contains(id) && tokens_[id].special; }
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }  // one more than the largest id

 private:
  struct Token {
    std::string bytes;
    bool used = false;
    bool special = false;
  };
  using Ids = absl::flat_hash_map<std::string, int32_t>;

  Token& Grow(int64_t id);

  std::vector<Token> tokens_;  // [size]
  Ids by_spelling_;            // keys of model.vocab, contents of added tokens
  Ids by_word_;                // the model's tokens that text can give
};

}  // namespace ternion
