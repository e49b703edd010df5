#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace ternion {

enum class Utf8Kind : uint8_t {
  kWhole,   // a character
  kBroken,  // bytes that never become one: a maximal subpart (Unicode 15, section 3.9), to be shown as one
            // U+FFFD
  kCut,     // the text ends inside a character
};
struct Utf8Piece {
  Utf8Kind kind;
  size_t bytes;
};

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// What `text`, which is not empty, begins with.
Utf8Piece FirstUtf8(std::string_view text);

// Where the first bytes stand that are no character; npos when all of `text` is UTF-8.
size_t FindInvalidUtf8(std::string_view text);
// kInvalidArgument with that place when `text` is not UTF-8.
absl::Status CheckUtf8(std::string_view text);

// Code points of `text`, which is UTF-8.
int64_t CountCharacters(std::string_view text);

// The code point of a text's first character, and the beginning of its last one. `text` is UTF-8 and not
// empty.
uint32_t FirstCodePoint(std::string_view text);
size_t LastCharacter(std::string_view text);

// Unicode's White_Space property.
bool IsWhiteSpace(uint32_t code_point);

// Bytes of white space that UTF-8 text begins and ends with.
size_t LeadingWhiteSpace(std::string_view text);
size_t TrailingWhiteSpace(std::string_view text);

}  // namespace ternion
