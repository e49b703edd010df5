#include "runtime/text/jinja/tag_lexer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"

namespace ternion::jinja {
namespace {

bool IsAsciiDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsNameByte(char c) { return c == '_' || absl::ascii_isalnum(static_cast<unsigned char>(c)); }

// The end of digits of a base with single underscores between them, or `at` where there are none.
size_t SkipDigits(std::string_view text, size_t at, int base) {
  const auto is_digit = [&](size_t i) {
    if (i >= text.size()) return false;
    const char c = absl::ascii_tolower(static_cast<unsigned char>(text[i]));
    return base == 16 ? absl::ascii_isxdigit(static_cast<unsigned char>(c)) : c >= '0' && c < '0' + base;
  };
  while (is_digit(at) || (at > 0 && at < text.size() && text[at] == '_' && is_digit(at + 1))) ++at;
  return at;
}

// The end of a float that `text` begins with; 0 when it begins with an integer.
size_t EndOfFloat(std::string_view text) {
  size_t end = SkipDigits(text, 0, 10);
  bool found = false;
  if (text.substr(end, 1) == "." && end + 1 < text.size() && IsAsciiDigit(text[end + 1])) {
    end = SkipDigits(text, end + 1, 10);
    found = true;
  }
  if (end < text.size() && (text[end] | 0x20) == 'e') {
    const size_t digits =
        end + (end + 1 < text.size() && (text[end + 1] == '-' || text[end + 1] == '+') ? 2 : 1);
    if (digits < text.size() && IsAsciiDigit(text[digits])) return SkipDigits(text, digits, 10);
  }
  return found ? end : 0;
}

int BaseOf(std::string_view text) {
  if (text.size() < 3 || text[0] != '0') return 10;
  const size_t base = std::string_view("box").find(static_cast<char>(text[1] | 0x20));
  constexpr int kBases[] = {2, 8, 16};
  const size_t digits = text[2] == '_' ? 3 : 2;
  return base < 3 && SkipDigits(text, digits, kBases[base]) > digits ? kBases[base] : 10;
}

std::string WithoutUnderscores(std::string_view text) {
  std::string digits(text);
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  return digits;
}

}  // namespace

absl::StatusOr<size_t> TagLexer::Read(size_t at, bool block) {
  const size_t tag = tokens_.back().at;
  for (at_ = at; at_ < source_.text().size();) {
    if (const size_t end = open_.empty() ? EndOfTag(block) : 0; end > 0) {
      Push(block ? Token::Kind::kBlockEnd : Token::Kind::kVariableEnd, end);
      return at_;
    }
    TERNION_RETURN_IF_ERROR(ReadToken());
  }
  return source_.Fail(tag, block ? "the block does not end; it is to end with %}"
                                 : "the expression does not end; it is to end with }}");
}

// Bytes of the tag's end where it stands here, with the white space that it takes; 0 where it does not.
size_t TagLexer::EndOfTag(bool block) const {
  const std::string_view text = rest();
  const std::string_view end = block ? "%}" : "}}";
  if (text[0] == '-' && text.substr(1, 2) == end) return 3 + LeadingSpace(text.substr(3));
  if (block && text[0] == '+' && text.substr(1, 2) == end) return 3;
  if (text.substr(0, 2) != end) return 0;
  return block && text.substr(2, 1) == "\n" ? 3 : 2;
}

absl::Status TagLexer::ReadToken() {
  const std::string_view text = rest();
  if (const size_t space = LeadingSpace(text); space > 0) {
    at_ += space;
    return absl::OkStatus();
  }
  if (IsAsciiDigit(text[0])) return ReadNumber();
  if (text[0] == '\'' || text[0] == '"') return ReadString();
  if (!IsNameByte(text[0])) return ReadOperator();
  const auto end = std::find_if_not(text.begin(), text.end(), IsNameByte);
  Push(Token::Kind::kName, static_cast<size_t>(end - text.begin()));
  return absl::OkStatus();
}

absl::Status TagLexer::ReadNumber() {
  // In "a.0.1" no float stands behind the dot.
  const bool behind_dot = at_ > 0 && source_.text()[at_ - 1] == '.';
  if (const size_t end = behind_dot ? 0 : EndOfFloat(rest()); end > 0) return ReadFloat(end);
  const int base = BaseOf(rest());
  if (base == 10) return ReadInteger(SkipDigits(rest(), 0, 10));
  return ReadInteger(SkipDigits(rest(), rest()[2] == '_' ? 3 : 2, base));
}

absl::Status TagLexer::ReadFloat(size_t end) {
  const std::string digits = WithoutUnderscores(rest().substr(0, end));
  double number = 0;
  if (!absl::SimpleAtod(digits, &number)) return source_.Fail(at_, "the number cannot be read");
  Push(Token::Kind::kFloat, end);
  tokens_.back().number = number;
  return absl::OkStatus();
}

absl::Status TagLexer::ReadInteger(size_t end) {
  const int base = BaseOf(rest());
  const std::string digits =
      WithoutUnderscores(rest().substr(base == 10 ? 0 : 2, end - (base == 10 ? 0 : 2)));
  if (base == 10 && digits[0] == '0' && digits.find_first_not_of('0') != std::string::npos) {
    return source_.Fail(at_, "an integer must not begin with 0");
  }
  int64_t integer = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), integer, base);
  if (result.ec != std::errc()) return source_.Fail(at_, "the integer has more than 64 bits");
  Push(Token::Kind::kInteger, end);
  tokens_.back().integer = integer;
  return absl::OkStatus();
}

absl::Status TagLexer::ReadString() {
  const std::string_view text = rest();
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == text[0]) {
      TERNION_ASSIGN_OR_RETURN(std::string content, Unescape(at_ + 1, at_ + i));
      Push(Token::Kind::kString, i + 1);
      tokens_.back().text = std::move(content);
      return absl::OkStatus();
    }
  }
  return source_.Fail(at_, "the string does not end");
}

absl::Status TagLexer::ReadOperator() {
  const std::string_view text = rest();
  for (const std::string_view two : {"//", "**", "==", "!=", ">=", "<="}) {
    if (text.substr(0, 2) != two) continue;
    Push(Token::Kind::kOperator, 2);
    return absl::OkStatus();
  }
  if (std::string_view("+-/*%~[](){}><=.:|,;").find(text[0]) == std::string_view::npos) {
    const std::string_view character = text.substr(0, FirstUtf8(text).bytes);
    return source_.Fail(at_, absl::StrCat("unexpected '", ToAbsl(character), "'"));
  }
  TERNION_RETURN_IF_ERROR(Balance(text[0]));
  Push(Token::Kind::kOperator, 1);
  return absl::OkStatus();
}

absl::Status TagLexer::Balance(char bracket) {
  constexpr std::string_view kOpen = "([{";
  constexpr std::string_view kClose = ")]}";
  if (kOpen.find(bracket) != std::string_view::npos) open_ += bracket;
  const size_t closes = kClose.find(bracket);
  if (closes == std::string_view::npos) return absl::OkStatus();
  if (open_.empty()) return source_.Fail(at_, absl::StrCat("unexpected '", std::string(1, bracket), "'"));
  const char expected = kClose[kOpen.find(open_.back())];
  open_.pop_back();
  if (expected == bracket) return absl::OkStatus();
  return source_.Fail(at_, absl::StrCat("unexpected '", std::string(1, bracket), "', expected '",
                                        std::string(1, expected), "'"));
}

absl::StatusOr<std::string> TagLexer::Unescape(size_t begin, size_t end) const {
  const std::string& text = source_.text();
  std::string out;
  for (size_t at = begin; at < end;) {
    if (text[at] != '\\') {
      out += text[at++];
      continue;
    }
    TERNION_ASSIGN_OR_RETURN(at, AppendEscape(at + 1, end, out));
  }
  return out;
}

// What stands behind a backslash, as in Python's strings; returns the byte behind it.
absl::StatusOr<size_t> TagLexer::AppendEscape(size_t at, size_t end, std::string& out) const {
  constexpr std::string_view kSimple = "\\\\''\"\"n\nt\tr\ra\ab\bf\fv\v";  // each with what it stands for
  const std::string_view text = std::string_view(source_.text()).substr(at, end - at);
  for (size_t i = 0; i < kSimple.size(); i += 2) {
    if (text[0] != kSimple[i]) continue;
    out += kSimple[i + 1];
    return at + 1;
  }
  if (text[0] == '\n') return at + 1;
  const bool octal = text[0] >= '0' && text[0] < '8';
  const size_t kind = std::string_view("xuU").find(text[0]);
  if (!octal && kind == std::string_view::npos) {
    if (text[0] == 'N') return source_.Fail(at - 1, "\\N{...} is not supported; write the character itself");
    out += '\\';
    return at;
  }
  constexpr size_t kDigits[] = {2, 4, 8};
  const size_t begin = octal ? 0 : 1;
  const std::string_view digits = text.substr(begin, octal ? 3 : kDigits[kind]);
  uint32_t code = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), code, octal ? 8 : 16);
  const auto read = static_cast<size_t>(result.ptr - digits.data());
  if ((!octal && read < kDigits[kind]) || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
    return source_.Fail(at - 1, "the escape stands for no character");
  }
  AppendUtf8(code, out);
  return at + begin + read;
}

void TagLexer::Push(Token::Kind kind, size_t bytes) {
  tokens_.push_back({kind, at_, source_.text().substr(at_, bytes)});
  at_ += bytes;
}

}  // namespace ternion::jinja
