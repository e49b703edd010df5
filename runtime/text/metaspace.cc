#include "runtime/text/metaspace.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/utf8.h"
#include "runtime/text/word_split.h"

namespace ternion {

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  size_t at = 0;
  for (size_t next = text.find(from); next != text.npos; next = text.find(from, at)) {
    result += text.substr(at, next - at);
    result += to;
    at = next + from.size();
  }
  result += text.substr(at);
  return result;
}

absl::StatusOr<Metaspace> Metaspace::FromJson(const JsonNode& node) {
  Metaspace result;
  TERNION_ASSIGN_OR_RETURN(result.mark_, node.String("replacement"));
  if (CountCharacters(result.mark_) != 1) return node.Invalid("the replacement must be one character");
  TERNION_ASSIGN_OR_RETURN(result.prepend_, ReadPrepend(node));
  TERNION_ASSIGN_OR_RETURN(result.split_, node.BoolOr("split", true));
  return result;
}

absl::StatusOr<Metaspace::Prepend> Metaspace::ReadPrepend(const JsonNode& node) {
  // The older form of the field.
  TERNION_ASSIGN_OR_RETURN(const bool prefix, node.BoolOr("add_prefix_space", true));
  if (!node.Has("prepend_scheme")) return prefix ? Prepend::kAlways : Prepend::kNever;
  TERNION_ASSIGN_OR_RETURN(const std::string scheme, node.String("prepend_scheme"));
  if (scheme == "always" && prefix) return Prepend::kAlways;
  if (scheme == "first" && prefix) return Prepend::kFirst;
  if (scheme == "never") return Prepend::kNever;
  if (!prefix) return node.Invalid("add_prefix_space is false; then prepend_scheme must be \"never\"");
  return node.Invalid(
      absl::StrCat("prepend_scheme is \"", scheme, "\"; it must be \"always\", \"first\" or \"never\""));
}

std::string Metaspace::Spell(std::string_view text, bool at_start) const {
  const bool wanted = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && at_start);
  const bool has_one = text.substr(0, 1) == " " || text.substr(0, mark_.size()) == mark_;
  return absl::StrCat(wanted && !has_one ? mark_ : "", ReplaceAll(text, " ", mark_));
}

void Metaspace::Cut(std::string_view spelled, std::vector<std::string_view>& words) const {
  if (!split_) return words.push_back(spelled);
  WordSplit split(SplitBehavior::kMergedWithNext, words);
  while (!spelled.empty()) {
    const size_t next = std::min(spelled.find(mark_), spelled.size());
    if (next > 0) split.Take(spelled.substr(0, next), /*is_match=*/false);
    spelled.remove_prefix(next);
    if (spelled.empty()) break;
    split.Take(spelled.substr(0, mark_.size()), /*is_match=*/true);
    spelled.remove_prefix(mark_.size());
  }
}

}  // namespace ternion
