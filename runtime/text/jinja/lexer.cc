#include "runtime/text/jinja/lexer.h"

#include <optional>
#include <string_view>
#include <utility>

#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/tag_lexer.h"
#include "runtime/text/utf8.h"

namespace ternion::jinja {
namespace {

constexpr size_t kNowhere = std::string_view::npos;

size_t SkipSpace(std::string_view text, size_t at) { return at + LeadingSpace(text.substr(at)); }
bool IsSign(char c) { return c == '-' || c == '+'; }

// Behind `word`, with white space around it, or nowhere.
size_t SkipWord(std::string_view text, size_t at, std::string_view word) {
  at = SkipSpace(text, at);
  return text.substr(at, word.size()) == word ? SkipSpace(text, at + word.size()) : kNowhere;
}

class Lexer {
 public:
  Lexer(const Source& source, std::vector<Token>& tokens)
      : source_(source), text_(source.text()), tokens_(tokens) {}

  absl::Status Run() {
    for (size_t tag = FindTag(); tag != kNowhere; tag = FindTag()) TERNION_RETURN_IF_ERROR(ReadTag(tag));
    PushData(at_, text_.size());
    tokens_.push_back({Token::Kind::kEnd, text_.size(), ""});
    return absl::OkStatus();
  }

 private:
  size_t FindTag() const {
    for (size_t at = text_.find('{', at_); at != kNowhere; at = text_.find('{', at + 1)) {
      if (at + 1 < text_.size() && std::string_view("%{#").find(text_[at + 1]) != kNowhere) return at;
    }
    return kNowhere;
  }

  absl::Status ReadTag(size_t tag) {
    const char kind = text_[tag + 1];
    const char sign = SignAt(tag + 2);
    const size_t inside = tag + (sign == 0 ? 2 : 3);
    PushData(at_, StripBefore(tag, sign, /*line_too=*/kind != '{'));
    if (kind == '#')
      return MoveTo(SkipComment(inside), tag, "the comment does not end; it is to end with #}");
    if (kind == '%') {
      if (const auto body = BodyOfRaw(inside)) return ReadRaw(tag, *body);
    }
    tokens_.push_back({kind == '%' ? Token::Kind::kBlockBegin : Token::Kind::kVariableBegin, tag, ""});
    TERNION_ASSIGN_OR_RETURN(const size_t end, TagLexer(source_, tokens_).Read(inside, kind == '%'));
    return MoveTo(end, tag, "");
  }

  absl::Status MoveTo(size_t at, size_t tag, std::string_view failure) {
    if (at == kNowhere) return source_.Fail(tag, failure);
    line_starts_ = text_[at - 1] == '\n';
    at_ = at;
    return absl::OkStatus();
  }

  char SignAt(size_t at) const { return at < text_.size() && IsSign(text_[at]) ? text_[at] : '\0'; }

  void PushData(size_t begin, size_t end) {
    if (begin < end)
      tokens_.push_back({Token::Kind::kData, begin, std::string(text_.substr(begin, end - begin))});
  }

  // Where the data before a tag ends. `line_too`: lstrip_blocks takes the spaces from the line's beginning.
  size_t StripBefore(size_t tag, char sign, bool line_too) const {
    const std::string_view data = text_.substr(at_, tag - at_);
    if (sign == '-') return tag - TrailingSpace(data);
    if (sign == '+' || !line_too) return tag;
    const size_t line = data.rfind('\n') + 1;  // 0 where there is none
    if (line == 0 && !line_starts_) return tag;
    return LeadingSpace(data.substr(line)) == data.size() - line ? at_ + line : tag;
  }

  // Behind the end of a block or comment whose last two bytes are at `end`: -%} takes all white space, %} a line break
  // (trim_blocks), +%} nothing.
  size_t SkipEnd(size_t end, char sign) const {
    if (sign == '-') return SkipSpace(text_, end + 2);
    return sign == '\0' && text_.substr(end + 2, 1) == "\n" ? end + 3 : end + 2;
  }

  size_t SkipComment(size_t inside) const {
    const size_t end = text_.find("#}", inside);
    if (end == kNowhere) return kNowhere;
    return SkipEnd(end, end > inside ? SignAt(end - 1) : '\0');
  }

  // Where the body of {% raw %} begins, if the block at hand is one. No line break is trimmed there.
  std::optional<size_t> BodyOfRaw(size_t inside) const {
    const size_t end = SkipWord(text_, inside, "raw");
    if (end == kNowhere) return std::nullopt;
    if (text_.substr(end, 3) == "-%}") return SkipSpace(text_, end + 3);
    if (text_.substr(end, 2) == "%}") return end + 2;
    return std::nullopt;
  }

  absl::Status ReadRaw(size_t tag, size_t body) {
    at_ = body;
    line_starts_ = text_[body - 1] == '\n';
    for (size_t block = text_.find("{%", body); block != kNowhere; block = text_.find("{%", block + 1)) {
      const char sign = SignAt(block + 2);
      const size_t end = SkipWord(text_, block + (sign == 0 ? 2 : 3), "endraw");
      if (end == kNowhere) continue;
      const char end_sign = SignAt(end);
      const size_t closing = end_sign == 0 ? end : end + 1;
      if (text_.substr(closing, 2) != "%}") continue;
      PushData(body, StripBefore(block, sign, /*line_too=*/true));
      return MoveTo(SkipEnd(closing, end_sign), tag, "");
    }
    return source_.Fail(tag, "{% raw %} does not end; it is to end with {% endraw %}");
  }

  const Source& source_;
  const std::string_view text_;
  std::vector<Token>& tokens_;
  size_t at_ = 0;            // where the data before the next tag begins
  bool line_starts_ = true;  // the byte before is a line break, or there is none
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(const Source& source) {
  const size_t invalid = FindInvalidUtf8(source.text());
  if (invalid != kNowhere) return source.Fail(invalid, "the template is not UTF-8");
  std::vector<Token> tokens;
  TERNION_RETURN_IF_ERROR(Lexer(source, tokens).Run());
  return tokens;
}

}  // namespace ternion::jinja
