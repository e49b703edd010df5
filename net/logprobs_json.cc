#include "net/logprobs_json.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"
#include "net/json_quote.h"
#include "runtime/text/utf8.h"

namespace ternion {
namespace {

// What JSON has instead of -infinity; OpenAI's number.
constexpr float kLeastLogprob = -9999;

std::string LogprobJson(float logprob) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), std::max(logprob, kLeastLogprob)).ptr;
  return std::string(text, end);
}

// `bytes` with those that are no character as \xNN.
std::string Spell(std::string_view bytes) {
  std::string spelled;
  while (!bytes.empty()) {
    const Utf8Piece piece = FirstUtf8(bytes);
    const std::string_view part = bytes.substr(0, piece.bytes);
    if (piece.kind == Utf8Kind::kWhole) {
      spelled += part;
    } else {
      for (const char byte : part)
        absl::StrAppend(&spelled, "\\x", absl::Hex(static_cast<uint8_t>(byte), absl::kZeroPad2));
    }
    bytes.remove_prefix(piece.bytes);
  }
  return spelled;
}

bool IsText(std::string_view bytes) { return FindInvalidUtf8(bytes) == std::string_view::npos; }

std::string CompletionToken(std::string_view bytes) {
  return QuoteJson(IsText(bytes) ? std::string(bytes) : absl::StrCat("bytes:", Spell(bytes)));
}

// The token itself, then the likeliest; of equal spellings the first.
std::string CompletionTop(const ToldToken& token) {
  std::string entries = absl::StrCat(CompletionToken(token.bytes), ":", LogprobJson(*token.logprob));
  std::set<std::string_view> told = {token.bytes};
  for (const auto& [bytes, logprob] : token.likeliest) {
    if (!told.insert(bytes).second) continue;
    absl::StrAppend(&entries, ",", CompletionToken(bytes), ":", LogprobJson(logprob));
  }
  return absl::StrCat("{", entries, "}");
}

std::string ChatEntry(std::string_view bytes, float logprob) {
  const auto number = [](std::string* out, char byte) { absl::StrAppend(out, static_cast<uint8_t>(byte)); };
  return absl::StrCat("\"token\":", QuoteJson(Spell(bytes)), ",\"logprob\":", LogprobJson(logprob),
                      ",\"bytes\":[", absl::StrJoin(bytes, ",", number), "]");
}

std::string ChatToken(const ToldToken& token) {
  const auto entry = [](std::string* out, const std::pair<std::string, float>& likely) {
    absl::StrAppend(out, "{", ChatEntry(likely.first, likely.second), "}");
  };
  return absl::StrCat("{", ChatEntry(token.bytes, *token.logprob), ",\"top_logprobs\":[",
                      absl::StrJoin(token.likeliest, ",", entry), "]}");
}

// A JSON array of what `each` makes of the tokens.
template <typename Each>
std::string Array(absl::Span<const ToldToken> tokens, Each each) {
  const auto append = [&](std::string* out, const ToldToken& token) { absl::StrAppend(out, each(token)); };
  return absl::StrCat("[", absl::StrJoin(tokens, ",", append), "]");
}

}  // namespace

std::string CompletionLogprobsJson(absl::Span<const ToldToken> tokens) {
  const auto or_null = [](auto make) {
    return [make](const ToldToken& token) { return token.logprob.has_value() ? make(token) : "null"; };
  };
  const auto logprob = [](const ToldToken& token) { return LogprobJson(*token.logprob); };
  return absl::StrCat(
      "{\"tokens\":", Array(tokens, [](const ToldToken& token) { return CompletionToken(token.bytes); }),
      ",\"token_logprobs\":", Array(tokens, or_null(logprob)),
      ",\"top_logprobs\":", Array(tokens, or_null(CompletionTop)),
      ",\"text_offset\":", Array(tokens, [](const ToldToken& token) { return absl::StrCat(token.offset); }),
      "}");
}

std::string ChatLogprobsJson(absl::Span<const ToldToken> tokens) {
  return absl::StrCat("{\"content\":", Array(tokens, ChatToken), ",\"refusal\":null}");
}

}  // namespace ternion
