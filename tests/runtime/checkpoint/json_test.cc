#include "runtime/checkpoint/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<nlohmann::json> Parse(std::string_view text) {
  return ParseJson(text, "file.json", absl::StatusCode::kDataLoss);
}

void ExpectRefused(std::string_view text, const std::string& why) {
  const auto parsed = Parse(text);
  ASSERT_FALSE(parsed.ok()) << text;
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(parsed.status().message()),
              AllOf(HasSubstr("file.json: is not valid JSON"), HasSubstr(why)));
}

TEST(ParseJson, BuildsTheSameDocumentAsTheLibrary) {
  const std::string text = R"({"a": [1, -2, 3.5, [], {}], "b": {"c": null, "d": [true, {"e": "\u00e9"}]},
                               "big": 18446744073709551615, "s": ""})";
  EXPECT_EQ(*Parse(text), nlohmann::json::parse(text));
  EXPECT_EQ(*Parse("7"), nlohmann::json(7));
}

TEST(ParseJson, RefusesBrokenTexts) {
  ExpectRefused("", "unexpected end of input");
  ExpectRefused("{\"a\": 1", "parse error");
  ExpectRefused("{\"a\": 1} x", "parse error");
  ExpectRefused("{\"a\": \"\xff\"}", "UTF-8");
  ExpectRefused("[1e999]", "number");
  ExpectRefused("{\"x\": {\"a\": 1, \"b\": 2, \"a\": 3}}", "\"a\" occurs twice");
}

TEST(ParseJson, LimitsTheDepth) {
  EXPECT_TRUE(Parse(std::string(64, '[') + std::string(64, ']')).ok());
  ExpectRefused(std::string(65, '[') + std::string(65, ']'), "nested deeper than 64");
  ExpectRefused(std::string(1'000'000, '['), "nested deeper than 64");
}

TEST(JsonFields, SaysWhatIsWrongAndWhatWouldBeRight) {
  const auto json = *Parse(R"({"n": 12, "huge": 18446744073709551615, "text": "x", "real": 0.5, "off": false,
                               "none": null, "ids": [1, 2], "id": 3, "bad_ids": [1, -2], "object": {"inner": 1}})");
  const JsonFields fields = *JsonFields::Of(json, "c.json");
  EXPECT_EQ(*fields.Int("n", 1, 12), 12);
  EXPECT_EQ(fields.Int("n", 1, 11).status().message(), "c.json: n is 12; it must be an integer from 1 to 11");
  EXPECT_EQ(fields.Int("m", 1, 2).status().message(),
            "c.json: m is missing; it must be an integer from 1 to 2");
  EXPECT_FALSE(fields.Int("huge", 0, INT64_MAX).ok());
  EXPECT_FALSE(fields.Int("real", 0, 5).ok());
  EXPECT_FALSE(fields.Int("none", 0, 5).ok());
  EXPECT_EQ(*fields.Number("real", 0, 1), 0.5);
  EXPECT_EQ(*fields.Number("n", 0, 20), 12.0);
  EXPECT_FALSE(fields.Number("real", 0.5, 1).ok());
  EXPECT_EQ(*fields.BoolOr("off", true), false);
  EXPECT_EQ(*fields.BoolOr("none", true), true);
  EXPECT_FALSE(fields.BoolOr("n", true).ok());
  EXPECT_EQ(*fields.Choice("text", {"w", "x"}), "x");
  EXPECT_EQ(fields.Choice("text", {"y", "z"}).status().message(),
            "c.json: text is \"x\"; it must be \"y\" or \"z\"");
  EXPECT_EQ(*fields.Ids("ids", 2), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(*fields.Ids("id", 3), std::vector<int32_t>{3});
  EXPECT_TRUE(fields.Ids("none", 3)->empty());
  EXPECT_FALSE(fields.Ids("ids", 1).ok());
  EXPECT_FALSE(fields.Ids("bad_ids", 9).ok());
  EXPECT_EQ(fields.Object("object")->Int("inner", 2, 3).status().message(),
            "c.json: object: inner is 1; it must be an integer from 2 to 3");
  EXPECT_FALSE(fields.Object("n").ok());
  EXPECT_EQ(JsonFields::Of(json["n"], "c.json").status().message(),
            "c.json: is 12; it must be a JSON object");
}

}  // namespace
}  // namespace ternion
