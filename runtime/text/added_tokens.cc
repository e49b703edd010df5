#include "runtime/text/added_tokens.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/text/regex.h"
#include "runtime/text/unicode_additions.h"
#include "runtime/text/utf8.h"

namespace ternion {
namespace {

bool IsWordCharacter(std::string_view character) {
  static const auto* const word =
      new absl::StatusOr<Regex>(Regex::CompilePcre2(absl::StrCat("[", WordCharacters(), "]")));
  CHECK(word->ok(), word->status().ToString());
  const absl::StatusOr<RegexMatch> match = RegexMatcher(**word).Find(character, 0);
  CHECK(match.ok(), match.status().ToString());
  return match->found;
}

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  const std::string_view before = text.substr(0, begin);
  if (!before.empty() && IsWordCharacter(before.substr(LastCharacter(before)))) return false;
  const std::string_view after = text.substr(end);
  return after.empty() || !IsWordCharacter(after.substr(0, FirstUtf8(after).bytes));
}

// Where tokens may stand in a text.
class MarkupCursor {
 public:
  explicit MarkupCursor(absl::Span<const TextRange> plain) : plain_(plain) {}

  // The first bytes at or behind `at` that are not plain, up to the next that are. Never goes back.
  TextRange NextFrom(size_t at) {
    while (next_ < plain_.size() && plain_[next_].end <= at) ++next_;
    if (next_ == plain_.size()) return {at, std::string_view::npos};
    const TextRange& plain = plain_[next_];
    if (plain.begin > at) return {at, plain.begin};
    return {plain.end, plain.end};
  }

 private:
  absl::Span<const TextRange> plain_;
  size_t next_ = 0;
};

}  // namespace

absl::StatusOr<AddedTokens> AddedTokens::FromJson(const JsonNode& tokens, const Normalizer& normalizer,
                                                  Vocabulary& vocabulary) {
  TERNION_RETURN_IF_ERROR(tokens.ExpectArray());
  AddedTokens result;
  for (size_t i = 0; i < tokens.value().size(); ++i) {
    const JsonNode node = tokens.Item(i);
    Token token;
    TERNION_ASSIGN_OR_RETURN(const int64_t id, node.Int("id"));
    TERNION_ASSIGN_OR_RETURN(token.content, node.String("content"));
    TERNION_ASSIGN_OR_RETURN(token.single_word, node.Bool("single_word"));
    TERNION_ASSIGN_OR_RETURN(token.lstrip, node.Bool("lstrip"));
    TERNION_ASSIGN_OR_RETURN(token.rstrip, node.Bool("rstrip"));
    TERNION_ASSIGN_OR_RETURN(const bool normalized, node.Bool("normalized"));
    TERNION_ASSIGN_OR_RETURN(const bool special, node.Bool("special"));
    if (token.content.empty()) return node.Invalid("the content is empty");
    if (absl::Status added = vocabulary.AddToken(id, token.content, special); !added.ok())
      return node.Locate(added);
    token.id = static_cast<int32_t>(id);
    token.pattern = token.content;
    if (normalized) {
      TERNION_ASSIGN_OR_RETURN(token.pattern, normalizer.Normalize(token.content, nullptr));
      if (token.pattern.empty()) return node.Invalid("nothing is left of the content when it is normalized");
    }
    (normalized ? result.normalized_ : result.exact_).Insert(token.pattern, static_cast<int>(i));
    result.tokens_.push_back(std::move(token));
  }
  return result;
}

std::vector<TextPart> AddedTokens::Split(std::string_view text, absl::Span<const TextRange> plain) const {
  return SplitBy(exact_, text, plain);
}

std::vector<TextPart> AddedTokens::SplitNormalized(std::string_view text,
                                                   absl::Span<const TextRange> plain) const {
  return SplitBy(normalized_, text, plain);
}

std::vector<TextPart> AddedTokens::SplitBy(const Trie& trie, std::string_view text,
                                           absl::Span<const TextRange> plain_ranges) const {
  if (text.empty()) return {};
  if (trie.empty()) return {{-1, text}};
  std::vector<TextPart> parts;
  MarkupCursor markup(plain_ranges);
  size_t plain = 0;  // where the plain text begins that no part holds yet
  for (size_t at = 0; at < text.size();) {
    const TextRange next = markup.NextFrom(at);
    if (at < next.begin) {
      at = next.begin;
      continue;
    }
    const int found = trie.Longest(text.substr(at, next.end - at));
    if (found < 0) {
      ++at;
      continue;
    }
    const Token& token = tokens_[found];
    size_t begin = at;
    size_t end = at + token.pattern.size();
    at = end;  // also for a token that is not taken: none is looked for inside it
    if (token.single_word && !StandsAlone(text, begin, end)) continue;
    if (token.lstrip) {
      const std::string_view before = plain < begin ? text.substr(plain, begin - plain) : std::string_view();
      begin = std::max(plain, begin) - TrailingWhiteSpace(before);
    }
    if (token.rstrip) end += LeadingWhiteSpace(text.substr(end));
    if (plain < begin) parts.push_back({-1, text.substr(plain, begin - plain)});
    parts.push_back({token.id, token.content});
    plain = end;
  }
  if (plain < text.size()) parts.push_back({-1, text.substr(plain)});
  return parts;
}

void AddedTokens::Trie::Insert(std::string_view content, int token) {
  first_bytes_[static_cast<uint8_t>(content[0])] = true;
  int node = 0;
  for (const char byte : content) {
    const auto [child, is_new] = nodes_[node].children.emplace(byte, static_cast<int>(nodes_.size()));
    node = child->second;
    if (is_new) nodes_.emplace_back();
  }
  nodes_[node].token = token;
}

int AddedTokens::Trie::Longest(std::string_view text) const {
  if (!first_bytes_[static_cast<uint8_t>(text[0])]) return -1;
  int longest = -1;
  int node = 0;
  for (const char byte : text) {
    const auto child = nodes_[node].children.find(byte);
    if (child == nodes_[node].children.end()) break;
    node = child->second;
    if (nodes_[node].token >= 0) longest = nodes_[node].token;
  }
  return longest;
}

}  // namespace ternion
