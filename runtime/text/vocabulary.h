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

namespace ternion {

// The ids of a tokenizer and the bytes they stand for.
class Vocabulary {
 public:
  // The `model.vocab` of a tokenizer.json. kInvalidArgument: an id that is no integer in [0, 2^22), or is
  // there twice.
  static absl::StatusOr<Vocabulary> FromJson(const JsonNode& vocab);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  // Adds a token of `added_tokens`; one that the model lacks stands for its content as it is.
  // kInvalidArgument: the id or the content is taken by another token, or the id is out of range.
  absl::Status AddToken(int64_t id, std::string_view content, bool special);

  // The model's token of these bytes.
  std::optional<int32_t> Find(std::string_view bytes) const;
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

  Vocabulary() = default;
  Token& Grow(int64_t id);

  std::vector<Token> tokens_;  // [size]
  Ids by_spelling_;            // keys of model.vocab, contents of added tokens
  Ids by_bytes_;               // the model's tokens that byte-level text can give
};

}  // namespace ternion
