#include "runtime/text/vocabulary.h"

#include <algorithm>

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

absl::StatusOr<Vocabulary> Vocabulary::FromJson(const JsonNode& vocab) {
  TERNION_RETURN_IF_ERROR(vocab.ExpectObject());
  Vocabulary result;
  for (const auto& [key, value] : vocab.value().items()) {
    if (!value.is_number_integer())
      return vocab.Invalid(absl::StrCat("the id of \"", key, "\" is no integer"));
    const auto id = value.get<int64_t>();
    if (absl::Status range = CheckRange(id, key); !range.ok()) return vocab.Locate(range);
    Token& token = result.Grow(id);
    if (token.used)
      return vocab.Invalid(absl::StrCat("the id ", id, " is there twice, once for \"", key, "\""));
    std::optional<std::string> bytes = FromByteLevel(key);
    if (bytes.has_value()) result.by_bytes_.emplace(*bytes, static_cast<int32_t>(id));
    token = {bytes.value_or(key), true, false};
    result.by_spelling_.emplace(key, static_cast<int32_t>(id));
  }
  return result;
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

std::optional<int32_t> Vocabulary::Find(std::string_view bytes) const {
  const auto found = by_bytes_.find(ToAbsl(bytes));
  return found == by_bytes_.end() ? std::nullopt : std::optional<int32_t>(found->second);
}

std::optional<int32_t> Vocabulary::FindSpelling(std::string_view spelling) const {
  const auto found = by_spelling_.find(ToAbsl(spelling));
  return found == by_spelling_.end() ? std::nullopt : std::optional<int32_t>(found->second);
}

}  // namespace ternion
