#include "runtime/text/vocabulary.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/byte_level.h"

namespace ternion {
namespace {

constexpr int64_t kMaxIds = int64_t{1} << 22;

absl::Status CheckRange(int64_t id, std::string_view content) {
  if (id >= 0 && id < kMaxIds) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", ToAbsl(content), "\" has the id ", id, "; ids are 0 to ", kMaxIds - 1));
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::FromJson(const JsonNode& vocab, const TokenDecoder& decoder,
                                                bool byte_level) {
  TERNION_RETURN_IF_ERROR(vocab.ExpectObject());
  Vocabulary result;
  for (const auto& [key, value] : vocab.value().items()) {
    if (!value.is_number_integer())
      return vocab.Invalid(absl::StrCat("the id of \"", key, "\" is no integer"));
    const auto id = value.get<int64_t>();
    absl::Status added = result.Add(id, key, decoder.Bytes(key), /*special=*/false);
    if (!added.ok()) return vocab.Locate(added);
    std::optional<std::string> word = byte_level ? FromByteLevel(key) : key;
    if (word.has_value()) result.by_word_.emplace(*std::move(word), static_cast<int32_t>(id));
  }
  return result;
}

absl::Status Vocabulary::Add(int64_t id, std::string_view spelling, std::string bytes, bool special) {
  TERNION_RETURN_IF_ERROR(CheckRange(id, spelling));
  Token& token = Grow(id);
  if (token.used) {
    return absl::InvalidArgumentError(
        absl::StrCat("the id ", id, " is there twice, once for \"", ToAbsl(spelling), "\""));
  }
  const auto [found, is_new] = by_spelling_.emplace(spelling, static_cast<int32_t>(id));
  if (!is_new) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", ToAbsl(spelling), "\" is there twice, with the ids ", found->second, " and ", id));
  }
  token = {std::move(bytes), true, special};
  return absl::OkStatus();
}

Vocabulary::Token& Vocabulary::Grow(int64_t id) {
  if (id >= size()) tokens_.resize(id + 1);
  return tokens_[id];
}

absl::Status Vocabulary::AddToken(int64_t id, std::string_view content, bool special) {
  TERNION_RETURN_IF_ERROR(CheckRange(id, content));
  const auto [found, is_new] = by_spelling_.emplace(content, static_cast<int32_t>(id));
  if (found->second != id) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", ToAbsl(content), "\" has the id ", id, " here and ", found->second, " elsewhere"));
  }
  Token& token = Grow(id);
  if (is_new && token.used) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", ToAbsl(content), "\" has the id ", id, ", which another token has"));
  }
  if (is_new) token.bytes = content;
  token.used = true;
  token.special = special;
  return absl::OkStatus();
}

std::optional<int32_t> Vocabulary::Find(std::string_view word) const {
  const auto found = by_word_.find(ToAbsl(word));
  return found == by_word_.end() ? std::nullopt : std::optional<int32_t>(found->second);
}

std::optional<int32_t> Vocabulary::FindSpelling(std::string_view spelling) const {
  const auto found = by_spelling_.find(ToAbsl(spelling));
  return found == by_spelling_.end() ? std::nullopt : std::optional<int32_t>(found->second);
}

}  // namespace ternion
