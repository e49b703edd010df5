#pragma once

#include "runtime/text/tokenizer.h"

namespace ternion {

// Every byte is a token of its own (ids 0 to 255); after them the special tokens of the Llama-3 layout. Its
// Encode looks for no special tokens in the text.
class FakeTokenizer final : public Tokenizer {
 public:
  static constexpr int32_t kBos = 256;          // <|begin_of_text|>
  static constexpr int32_t kStartHeader = 257;  // <|start_header_id|>
  static constexpr int32_t kEndHeader = 258;    // <|end_header_id|>
  static constexpr int32_t kEndOfTurn = 259;    // <|eot_id|>
  static constexpr int32_t kVocabulary = 260;

  // `can_chat`: whether TokenId knows the special tokens.
  explicit FakeTokenizer(bool can_chat = true) : can_chat_(can_chat) {}

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special) const override;
  absl::StatusOr<std::vector<int32_t>> EncodePlain(std::string_view text) const override;
  // Looks for the special tokens, as a real tokenizer does.
  absl::StatusOr<std::vector<int32_t>> EncodeMixed(std::string_view text,
                                                   absl::Span<const TextRange> plain) const override;
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override;
  std::string_view TokenBytes(int32_t id) const override;
  bool IsSpecial(int32_t id) const override { return id >= kBos; }
  std::optional<int32_t> TokenId(std::string_view content) const override;
  int64_t vocab_size() const override { return kVocabulary; }

 private:
  bool can_chat_;
};

}  // namespace ternion
