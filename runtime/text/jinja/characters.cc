#include "runtime/text/jinja/characters.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/text/regex.h"

namespace ternion::jinja {
namespace {

// A set of characters in PCRE2's language. Never freed.
const Regex& CharacterSet(std::string_view pattern) {
  const auto* const regex = new absl::StatusOr<Regex>(Regex::CompilePcre2(pattern));
  CHECK(regex->ok(), regex->status().ToString());
  return **regex;
}

bool Holds(const RegexMatcher& set, std::string_view character) {
  const absl::StatusOr<RegexMatch> match = set.Find(character, 0);
  CHECK(match.ok(), match.status().ToString());
  return match->found;
}

bool IsAscii(std::string_view character) { return character.size() == 1; }
bool Between(char c, char low, char high) { return c >= low && c <= high; }

bool IsLineEnd(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

}  // namespace

void AppendUtf8(uint32_t c, std::string& out) {
  const auto trail = [&](int shift) { out += static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    trail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    trail(6);
    trail(0);
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    trail(12);
    trail(6);
    trail(0);
  }
}

int64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; });
}

size_t ByteOfCharacter(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += FirstUtf8(text.substr(at)).bytes;
  return at;
}

bool IsSpace(uint32_t code_point) {
  return IsWhiteSpace(code_point) || (code_point >= 0x1C && code_point <= 0x1F);
}

size_t LeadingSpace(std::string_view text) {
  size_t bytes = 0;
  for (const std::string_view character : Characters(text)) {
    if (!IsSpace(FirstCodePoint(character))) break;
    bytes += character.size();
  }
  return bytes;
}

size_t TrailingSpace(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t last = LastCharacter(text.substr(0, end));
    if (!IsSpace(FirstCodePoint(text.substr(last)))) break;
    end = last;
  }
  return text.size() - end;
}

bool IsPrintable(std::string_view character) {
  if (IsAscii(character)) return Between(character[0], ' ', '~');
  static const Regex& hidden = CharacterSet(R"([\p{C}\p{Z}])");
  thread_local const RegexMatcher matcher(hidden);
  return !Holds(matcher, character);
}

bool IsLetter(std::string_view character) {
  if (IsAscii(character)) return Between(character[0] | 0x20, 'a', 'z');
  static const Regex& letters = CharacterSet(R"(\p{L})");
  thread_local const RegexMatcher matcher(letters);
  return Holds(matcher, character);
}

bool IsDigit(std::string_view character) {
  if (IsAscii(character)) return Between(character[0], '0', '9');
  static const Regex& digits = CharacterSet(R"(\p{Nd})");
  thread_local const RegexMatcher matcher(digits);
  return Holds(matcher, character);
}

bool IsUpper(std::string_view character) {
  if (IsAscii(character)) return Between(character[0], 'A', 'Z');
  static const Regex& letters = CharacterSet(R"(\p{Uppercase})");
  thread_local const RegexMatcher matcher(letters);
  return Holds(matcher, character);
}

bool IsLower(std::string_view character) {
  if (IsAscii(character)) return Between(character[0], 'a', 'z');
  static const Regex& letters = CharacterSet(R"(\p{Lowercase})");
  thread_local const RegexMatcher matcher(letters);
  return Holds(matcher, character);
}

bool IsWordCharacter(std::string_view character) {
  if (character == "_" || IsLetter(character) || IsDigit(character)) return true;
  static const Regex& numbers = CharacterSet(R"(\p{N})");
  thread_local const RegexMatcher matcher(numbers);
  return Holds(matcher, character);
}

std::vector<TextRange> Lines(std::string_view text, bool keep_ends) {
  std::vector<TextRange> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = FirstUtf8(text.substr(at)).bytes;
    const bool ends = IsLineEnd(FirstCodePoint(text.substr(at)));
    const size_t next = text.substr(at, 2) == "\r\n" ? at + 2 : at + bytes;
    if (ends) {
      lines.push_back({begin, keep_ends ? next : at});
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back({begin, text.size()});
  return lines;
}

}  // namespace ternion::jinja
