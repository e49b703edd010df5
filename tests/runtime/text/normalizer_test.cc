#include "runtime/text/normalizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace ternion {
namespace {

using nlohmann::json;

absl::StatusOr<Normalizer> Read(const json& node) { return Normalizer::FromJson(JsonNode(node, "f")); }

std::string Normalize(const json& node, std::string_view text) {
  const auto normalizer = Read(node);
  EXPECT_TRUE(normalizer.ok()) << normalizer.status();
  return normalizer->Normalize(text, nullptr).value();
}

json Replace(const json& pattern, const std::string& content) {
  return {{"type", "Replace"}, {"pattern", pattern}, {"content", content}};
}

TEST(Normalizer, NullChangesNothing) {
  EXPECT_TRUE(Read(nullptr)->empty());
  EXPECT_EQ(Normalize(nullptr, "e\u0301 "), "e\u0301 ");
}

TEST(Normalizer, MakesTheFormsOfUnicode) {
  const std::string text = "e\u0301 \uFB01 \uAC01 \u1E9B\u0323";
  EXPECT_EQ(Normalize({{"type", "NFC"}}, text), "\u00E9 \uFB01 \uAC01 \u1E9B\u0323");
  EXPECT_EQ(Normalize({{"type", "NFD"}}, text), "e\u0301 \uFB01 \u1100\u1161\u11A8 \u017F\u0323\u0307");
  EXPECT_EQ(Normalize({{"type", "NFKC"}}, text), "\u00E9 fi \uAC01 \u1E69");
  EXPECT_EQ(Normalize({{"type", "NFKD"}}, text), "e\u0301 fi \u1100\u1161\u11A8 s\u0323\u0307");
}

// What composes since Unicode 13, and a mark of Unicode 10 that would change places with another.
TEST(Normalizer, KnowsNoCharacterAfterUnicode9) {
  EXPECT_EQ(Normalize({{"type", "NFC"}}, "\U00011935\U00011930"), "\U00011935\U00011930");
  EXPECT_EQ(Normalize({{"type", "NFD"}}, "\u00E1\u1DF6\u0323"), "a\u0301\u1DF6\u0323");
}

TEST(Normalizer, ReplacesAndPrepends) {
  EXPECT_EQ(Normalize(Replace({{"String", "."}}, "$1"), "a.b.."), "a$1b$1$1");
  EXPECT_EQ(Normalize(Replace({{"Regex", "[ab]+"}}, ""), "xabay"), "xy");
  const json both = {
      {"type", "Sequence"},
      {"normalizers", {{{"type", "Prepend"}, {"prepend", " "}}, Replace({{"String", " "}}, "_")}}};
  EXPECT_EQ(Normalize(both, "a b"), "_a_b");
  EXPECT_EQ(Normalize(both, ""), "");
}

TEST(Normalizer, TellsWhereRangesWent) {
  const json steps = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "NFC"}}, {{"type", "Prepend"}, {"prepend", ">>"}}, Replace({{"String", "b"}}, "***")}}};
  std::vector<TextRange> plain = {{0, 1}, {2, 3}, {5, 6}};  // "a", a byte of "e\u0301", "c"
  EXPECT_EQ(Read(steps)->Normalize("ae\u0301bc", &plain).value(), ">>a\u00E9***c");
  EXPECT_EQ(plain, (std::vector<TextRange>{{2, 5}, {8, 9}}));
}

TEST(Normalizer, NamesWhatItDoesNotKnow) {
  EXPECT_EQ(Read({{"type", "BertNormalizer"}}).status(),
            absl::UnimplementedError("f: normalizer \"BertNormalizer\" is not supported"));
  EXPECT_EQ(Read(Replace({{"Regex", "a*"}}, "")).status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Read(Replace({{"String", ""}}, "")).status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Read(Replace({{"Regex", "("}}, "")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Read({{"type", "Prepend"}}).status(),
            absl::InvalidArgumentError("f: the field \"prepend\" is missing"));
}

}  // namespace
}  // namespace ternion
