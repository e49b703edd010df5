#include "tests/support/fake_tokenizer.h"

#include <algorithm>
#include <iterator>

namespace ternion {
namespace {

constexpr std::string_view kSpecial[] = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                         "<|eot_id|>"};

std::string AllBytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> FakeTokenizer::Encode(std::string_view text, bool add_special) const {
  std::vector<int32_t> ids;
  if (add_special) ids.push_back(kBos);
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

absl::StatusOr<std::vector<int32_t>> FakeTokenizer::EncodePlain(std::string_view text) const {
  return Encode(text, /*add_special=*/false);
}

absl::StatusOr<std::vector<int32_t>> FakeTokenizer::EncodeMixed(std::string_view text,
                                                                absl::Span<const TextRange> plain) const {
  const auto stands_at = [&](std::string_view token, size_t at) {
    return text.substr(at, token.size()) == token &&
           std::none_of(plain.begin(), plain.end(),
                        [&](TextRange range) { return range.begin < at + token.size() && at < range.end; });
  };
  std::vector<int32_t> ids;
  for (size_t at = 0; at < text.size();) {
    const auto token = std::find_if(std::begin(kSpecial), std::end(kSpecial),
                                    [&](std::string_view special) { return stands_at(special, at); });
    const bool special = token != std::end(kSpecial);
    ids.push_back(special ? kBos + static_cast<int32_t>(token - std::begin(kSpecial))
                          : static_cast<unsigned char>(text[at]));
    at += special ? token->size() : 1;
  }
  return ids;
}

std::string FakeTokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  std::string text;
  for (const int32_t id : ids) {
    if (!IsSpecial(id) || !skip_special) text += TokenBytes(id);
  }
  return text;
}

std::string_view FakeTokenizer::TokenBytes(int32_t id) const {
  static const std::string bytes = AllBytes();
  if (id < 0 || id >= kVocabulary) return {};
  return IsSpecial(id) ? kSpecial[id - kBos] : std::string_view(bytes).substr(static_cast<size_t>(id), 1);
}

std::optional<int32_t> FakeTokenizer::TokenId(std::string_view content) const {
  for (int32_t id = 0; id < kVocabulary; ++id) {
    if (TokenBytes(id) == content && (can_chat_ || !IsSpecial(id))) return id;
  }
  return std::nullopt;
}

}  // namespace ternion
