#include "runtime/text/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ternion {
namespace {

// One bit pattern after the other, straight from the definition of UTF-8.
bool IsOneCharacter(std::string_view s) {
  uint32_t c = 0;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  for (size_t i = 1; i < s.size(); ++i) {
    if (byte(i) >> 6 != 2) return false;
  }
  if (s.size() == 1) return byte(0) < 0x80;
  if (s.size() == 2) return byte(0) >> 5 == 6 && (byte(0) & 0x1E) != 0;
  if (s.size() == 3 && byte(0) >> 4 == 14) {
    c = (byte(0) & 15u) << 12 | (byte(1) & 63u) << 6 | (byte(2) & 63u);
    return c >= 0x800 && (c < 0xD800 || c > 0xDFFF);
  }
  if (s.size() == 4 && byte(0) >> 3 == 30) {
    c = (byte(0) & 7u) << 18 | (byte(1) & 63u) << 12;
    return c >= 0x10000 && c < 0x110000;
  }
  return false;
}

// Bytes at the borders of every range that UTF-8 knows.
constexpr std::string_view kBytes =
    "\x41\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF"
    "\xF0\xF1\xF3\xF4\xF5\xFF";

TEST(Utf8, ReadsTheFirstCharacterOfAllBorderCases) {
  size_t whole = 0;
  for (size_t code = 0; code < kBytes.size() * kBytes.size() * kBytes.size() * kBytes.size(); ++code) {
    std::string text;
    for (size_t rest = code; text.size() < 4; rest /= kBytes.size()) text += kBytes[rest % kBytes.size()];
    size_t bytes = 0;
    for (size_t n = 1; n <= 4; ++n) {
      if (IsOneCharacter(std::string_view(text).substr(0, n))) bytes = n;
    }
    const Utf8Piece piece = FirstUtf8(text);
    ASSERT_EQ(piece.kind == Utf8Kind::kWhole, bytes > 0) << testing::PrintToString(text);
    if (bytes == 0) continue;
    ++whole;
    ASSERT_EQ(piece.bytes, bytes);
    for (size_t n = 1; n < bytes; ++n) {
      const Utf8Piece cut = FirstUtf8(std::string_view(text).substr(0, n));
      ASSERT_EQ(cut.kind, Utf8Kind::kCut);
      ASSERT_EQ(cut.bytes, n);
    }
  }
  EXPECT_GT(whole, 10000u);
}

TEST(Utf8, FindsTheFirstBrokenByte) {
  EXPECT_EQ(FindInvalidUtf8(""), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8(std::string(1000, 'a') + "\u00e9\u4f60\U0001f600"), std::string_view::npos);
  for (const std::string broken :
       {"\x80", "\xC3", "\xE4\xBD", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\x80"}) {
    for (size_t before = 0; before < 20; ++before) {
      EXPECT_EQ(FindInvalidUtf8(std::string(before, 'a') + broken), before);
      EXPECT_EQ(FindInvalidUtf8("\u4f60" + std::string(before, 'a') + broken + "and more text"), before + 3);
    }
  }
}

TEST(Utf8, MeasuresWhiteSpaceAtBothEnds) {
  const std::string space = " \t\r\n\v\f\u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000";
  EXPECT_EQ(LeadingWhiteSpace(space + "a "), space.size());
  EXPECT_EQ(TrailingWhiteSpace(" a" + space), space.size());
  EXPECT_EQ(LeadingWhiteSpace(space), space.size());
  EXPECT_EQ(TrailingWhiteSpace(space), space.size());
  for (const std::string other : {"", "a", "\u180e", "\u200b", "\ufeff", "\u4f60", "\x1f"}) {
    EXPECT_EQ(LeadingWhiteSpace(other), 0u);
    EXPECT_EQ(TrailingWhiteSpace(other), 0u);
  }
}

}  // namespace
}  // namespace ternion
