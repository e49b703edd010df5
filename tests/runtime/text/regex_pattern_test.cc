#include "runtime/text/regex_pattern.h"

#include <gtest/gtest.h>

#include <string>

#include "runtime/text/regex.h"

namespace ternion {
namespace {

std::string Translated(std::string_view pattern) {
  const auto result = ToPcre2(pattern);
  return result.ok() ? *result : result.status().ToString();
}

// Every match, in brackets.
std::string Matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::Compile(pattern);
  if (!regex.ok()) return regex.status().ToString();
  const RegexMatcher matcher(*regex);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto match = matcher.Find(text, at);
    if (!match.ok() || !match->found) break;
    out.append("[").append(text.substr(match->begin, match->end - match->begin)).append("]");
    at = match->end;
  }
  return out;
}

TEST(RegexPattern, KeepsWhatBothLanguagesReadAlike) {
  for (const std::string_view same : {R"([^\r\n]?a+|b{1,3})", R"((?i:'s|'t)(?!x)(?:y)(?>z))",
                                      R"([\]\[\-]\.\*\+)", R"(\x{4E00}[一-龥]\d)", R"((?<=a)b)", R"((a))"}) {
    EXPECT_EQ(Translated(same), same);
  }
  EXPECT_EQ(Translated(R"(\s[\s\S]\S\u00e9)"),
            R"(\p{White_Space}[\p{White_Space}\P{White_Space}]\P{White_Space}\x{00e9})");
}

TEST(RegexPattern, RefusesWhatTheTwoReadDifferently) {
  for (const std::string_view strange :
       {R"(\w)",      R"(\b)",  R"(\h)",      R"(\v)",   R"(\1)",   R"(\G)",   "^a",      "a$",    "[a[b]]",
        "[a&&b]",     "[]a]",   "(?m:a)",     "(?i)a",   "(?<n>a)", "(?#c)",   "(*UCP)a", "a{,3}", "a{1,3}+",
        R"(\p{Han})", R"(\pL)", R"([\P{L}])", R"(\u00)", "a\\",     R"(\p{L)", R"(\xE9)"}) {
    EXPECT_EQ(ToPcre2(strange).status().code(), absl::StatusCode::kUnimplemented) << strange;
  }
  EXPECT_EQ(ToPcre2(R"(ab\w)").status().message(),
            R"(the regular expression's "\w" at byte 2 is not supported)");
}

TEST(RegexPattern, KnowsUnicode16) {
  EXPECT_EQ(Matches(R"(\p{L}+)", "a\U00010d4a\U00031350b!"), "[a\U00010d4a\U00031350b]");
  EXPECT_EQ(Matches(R"(\P{L}+)", "a\U00010d4a!"), "[!]");
  EXPECT_EQ(Matches(R"([^\p{L}]+)", "a\U00010d4a!"), "[!]");
  EXPECT_EQ(Matches(R"(\p{Nd}+)", "1\U00010d40-"), "[1\U00010d40]");
}

TEST(RegexPattern, SpaceIsUnicodesWhiteSpace) {
  EXPECT_EQ(Matches(R"(\s+)", "a\u180eb \u3000\u0085c"), "[ \u3000\u0085]");
  EXPECT_EQ(Matches(R"(\S+)", "a\u180eb \u3000c"), "[a\u180eb][c]");
}

TEST(Regex, RefusesWrongAndEmptyExpressions) {
  EXPECT_EQ(Regex::Compile("(a").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Regex::Compile("a*").status().code(), absl::StatusCode::kUnimplemented);
}

TEST(Regex, BacktracksOverLongText) {
  const std::string spaces(3000000, ' ');
  EXPECT_EQ(Matches(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", spaces + "x").size(), spaces.size() + 4);
}

// A group repeated this often needs more stack than a match is given: an error, no crash.
TEST(Regex, SaysWhenAMatchNeedsTooMuchMemory) {
  const auto regex = Regex::Compile("(?:(a)|b(c))*d");
  ASSERT_TRUE(regex.ok()) << regex.status();
  const auto match = RegexMatcher(*regex).Find(std::string(30000000, 'a'), 0);
  EXPECT_EQ(match.status().code(), absl::StatusCode::kResourceExhausted) << match.status();
}

}  // namespace
}  // namespace ternion
