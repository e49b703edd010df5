#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/text/text_range.h"

namespace ternion {

// Text to the ids of tokens, and back: a Hugging Face tokenizer.json with a BPE model, or what
// sentencepiece_tokenizer.h and gguf_tokenizer.h read. Immutable and thread-safe after Load. A tokenizer.json's
// `truncation` and `padding` shape batches of texts and have no part here.
class Tokenizer {
 public:
  // kNotFound, kInvalidArgument (malformed), kUnimplemented (a component this class does not know), each
  // naming the file and the component.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::filesystem::path& file);
  // The same from a parsed tokenizer.json that `where` names in errors.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(const nlohmann::json& document,
                                                             std::string where);
  virtual ~Tokenizer() = default;

  // kInvalidArgument with the byte offset when `text` is not UTF-8. `add_special`: what the post-processor
  // adds (a BOS, usually). Added tokens that stand in the text become their ids.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special) const = 0;
  // The same, for text that must stay text: added tokens are not looked for, and no special token comes out but the unknown one.
  virtual absl::StatusOr<std::vector<int32_t>> EncodePlain(std::string_view text) const = 0;
  // The same, for a text of which only the ranges `plain` must stay text: no added token has a byte in one of them.
  // They are in order and apart. What lies between two added tokens is encoded as one text, whatever it is made of.
  virtual absl::StatusOr<std::vector<int32_t>> EncodeMixed(std::string_view text,
                                                           absl::Span<const TextRange> plain) const = 0;
  // The bytes of the ids in a row, less the space that encoding puts in front of a text; may end inside a UTF-8 character.
  virtual std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const = 0;
  // The bytes one id stands for, that space among them; none for an unknown id.
  virtual std::string_view TokenBytes(int32_t id) const = 0;
  virtual bool IsSpecial(int32_t id) const = 0;
  // By the content of an added token, or by the vocabulary's key as the file spells it (byte-level characters,
  // or U+2581 for a space).
  virtual std::optional<int32_t> TokenId(std::string_view content) const = 0;
  virtual int64_t vocab_size() const = 0;  // one more than the largest id
};

}  // namespace ternion
