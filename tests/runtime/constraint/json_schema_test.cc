#include "runtime/constraint/json_schema.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/constraint/constraint.h"
#include "tests/runtime/constraint/schema_check.h"
#include "tests/support/fake_tokenizer.h"

namespace ternion {
namespace {

using Json = nlohmann::ordered_json;

std::shared_ptr<Constraint> ConstraintOf(Grammar grammar) {
  static const FakeTokenizer tokenizer;
  static const auto vocabulary = std::make_shared<const VocabularyTrie>(tokenizer);
  return std::make_shared<Constraint>(std::move(grammar), vocabulary);
}

bool Allows(const std::shared_ptr<Constraint>& constraint, std::string_view text) {
  Constraint::Text made(constraint);
  for (const char c : text) {
    if (!made.Add(static_cast<uint8_t>(c)).ok()) return false;
  }
  return made.complete();
}

struct Case {
  std::string name;
  std::string schema;
  std::vector<std::string> allowed;
  std::vector<std::string> refused;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class SchemaTable : public testing::TestWithParam<Case> {};

TEST_P(SchemaTable, AllowsAndRefuses) {
  const Json schema = Json::parse(GetParam().schema);
  std::string where;
  absl::StatusOr<Grammar> grammar = JsonSchemaGrammar(schema, &where);
  ASSERT_TRUE(grammar.ok()) << where << " " << grammar.status();
  const auto constraint = ConstraintOf(*std::move(grammar));
  for (const std::string& text : GetParam().allowed) {
    EXPECT_TRUE(Allows(constraint, text)) << text;
    const Json value = Json::parse(text, nullptr, false);
    EXPECT_FALSE(value.is_discarded()) << text;
    EXPECT_TRUE(SchemaCheck(schema).Fits(value)) << text;
  }
  for (const std::string& text : GetParam().refused) EXPECT_FALSE(Allows(constraint, text)) << text;
}

INSTANTIATE_TEST_SUITE_P(
    , SchemaTable,
    testing::Values(
        Case{"any",
             "true",
             {"null", "true", "-0.5e+10", "\"x\"", "[]", "[1, 2]", "{\"a\":{\"b\": [\n  1\n]}}"},
             {"", "nul", "01", "1.", ".5", "+1", "[1,]", "{\"a\"}", "{,}", "[1] ", " 1", "[  1]", "\"\t\"",
              "'a'", "1e100"}},
        Case{"strings",
             R"({"type": "string"})",
             {R"("")", R"("a\n\"\\\/\u00e9")", R"("\ud83d\ude00")", "\"\u00e9\U0001F600\""},
             {"\"", "\"a\nb\"", R"("\x")", R"("\ud83d")", R"("\ude00")", R"("\u12")", "\"\xff\"",
              "\"\xed\xa0\x80\"", "\"\xc0\x80\""}},
        Case{"lengths",
             R"({"type": "string", "minLength": 2, "maxLength": 3})",
             {R"("ab")", R"("abc")", R"("a\ud83d\ude00")", "\"\U0001F600\u00e9\""},
             {R"("a")", R"("abcd")", R"("")"}},
        Case{"least_length", R"({"minLength": 2})", {R"("ab")", R"("abcdef")"}, {R"("a")", "12"}},
        Case{"integers",
             R"({"type": "integer"})",
             {"0", "-1", "999999999999999"},
             {"-0", "00", "1.0", "1e3", "1000000000000000"}},
        Case{"range",
             R"({"type": "integer", "minimum": -12, "maximum": 105})",
             {"-12", "-9", "-1", "0", "9", "10", "99", "100", "105"},
             {"-13", "-20", "-0", "106", "110", "200", "1000"}},
        Case{"exclusive_range",
             R"({"type": "integer", "exclusiveMinimum": 9, "exclusiveMaximum": 2e1})",
             {"10", "19"},
             {"9", "20", "1", "2"}},
        Case{"negative_range",
             R"({"type": "integer", "maximum": -3, "minimum": -3})",
             {"-3"},
             {"3", "-2", "-30"}},
        Case{"numbers", R"({"type": "number"})", {"1", "-0", "1.5", "1E5", "12e-3"}, {"1.e5", "1e", "--1"}},
        Case{"types", R"({"type": ["null", "integer"]})", {"null", "7"}, {"true", "7.5"}},
        Case{"enum",
             R"({"enum": ["red", "red wine", 1, null, {"b": 1, "a": 2}]})",
             {R"("red")", R"("red wine")", "1", "null", R"({"b":1,"a":2})"},
             {R"("re")", R"({"a":2,"b":1})", "2"}},
        Case{"enum_of_a_type", R"({"type": "string", "enum": ["a", 1]})", {R"("a")"}, {"1"}},
        Case{"constant", R"({"const": "a\"\u00e9"})", {"\"a\\\"\u00e9\""}, {R"("a")"}},
        Case{"object",
             R"({"type": "object", "properties": {"z": {"type": "integer"}, "a": {"type": "null"}, "m": true},
                 "required": ["a"]})",
             {R"({"a":null})", R"({"z":1,"a":null})", "{\n  \"z\": 1,\n  \"a\": null,\n  \"m\": [1]\n}",
              R"({"a":null,"m":{}})", R"({ "a": null })"},
             {"{}", R"({"z":1})", R"({"a":null,"z":1})", R"({"a":null,})", R"({"a":null,"b":1})",
              R"({,"a":null})", R"({"z":1 "a":null})", R"({"a":null,"a":null})", R"({"z":1,"m":1})"}},
        Case{"no_properties", R"({"type": "object", "properties": {}})", {"{}", "{ }"}, {R"({"a":1})"}},
        Case{"any_object", R"({"type": "object"})", {"{}", R"({"a":1,"":{}})"}, {"[]"}},
        Case{
            "other_properties",
            R"({"properties": {"ab": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}})",
            {R"({"ab":1})", R"({"ab":1,"a":true,"abc":false})", R"({"":true,"ac":true,"é":true,"x\n":true})"},
            {R"({"ab":true})", R"({"a":1})", R"({"a":true,"ab":1})", R"({"\u0061b":true})"}},
        Case{"array",
             R"({"type": "array", "items": {"type": "boolean"}})",
             {"[]", "[true]", "[true,\n false]"},
             {"[1]", "[true", "[,]"}},
        Case{"counts",
             R"({"items": {"const": 1}, "minItems": 2, "maxItems": 3})",
             {"[1,1]", "[1,1,1]"},
             {"[]", "[1]", "[1,1,1,1]"}},
        Case{"least_count",
             R"({"items": {"const": 1}, "minItems": 2})",
             {"[1,1]", "[1,1,1,1,1]"},
             {"[]", "[1]"}},
        Case{"no_items", R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
        Case{"tuple",
             R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": false})",
             {"[]", "[1]", "[1,2]"},
             {"[2]", "[1,2,3]"}},
        Case{
            "open_tuple",
            R"({"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "string"}, "minItems": 1})",
            {"[1]", R"([1,"a","b"])"},
            {"[]", "[1,1]"}},
        Case{"any_of",
             R"({"anyOf": [{"type": "integer"}, {"properties": {"a": {"const": 1}}, "required": ["a"]},
                           {"properties": {"a": {"const": 2}, "b": true}, "required": ["a", "b"]}]})",
             {"3", R"({"a":1})", R"({"a":2,"b":[]})"},
             {R"({"a":2})", R"({"a":1,"b":1})", "null"}},
        Case{"one_of",
             R"({"oneOf": [{"type": "string"}, {"$ref": "#/$defs/n"}], "$defs": {"n": {"type": "number"}}})",
             {"1.5", R"("a")"},
             {"null"}},
        Case{
            "discriminated",
            R"({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}, "x": {"type": "null"}}, "required": ["k"]},
                           {"type": "object", "properties": {"k": {"enum": ["b", "c"]}}, "required": ["k"]}]})",
            {R"({"k":"a","x":null})", R"({"k":"c"})"},
            {R"({"k":"b","x":null})", R"({"k":"d"})"}},
        Case{"all_of", R"({"allOf": [{"type": "null"}], "title": "T"})", {"null"}, {"1"}},
        Case{
            "recursion",
            R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"},
                 "right": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/tree"}]}}, "required": ["right"]}}})",
            {R"({"right":null})", R"({"left":{"right":{"right":null}},"right":null})"},
            {R"({"left":null,"right":null})", R"({"right":{}})"}},
        Case{"a_branch_without_end",
             R"({"anyOf": [{"const": 1}, {"$ref": "#/$defs/x"}],
                 "$defs": {"x": {"properties": {"y": {"$ref": "#/$defs/x"}}, "required": ["y"]}}})",
             {"1"},
             {R"({"y":)", "{"}}),
    [](const auto& test) { return test.param.name; });

TEST(JsonSchema, AnyObjectIsAnObject) {
  const auto constraint = ConstraintOf(JsonObjectGrammar());
  EXPECT_TRUE(Allows(constraint, R"({"a": [1, {"b": null}]})"));
  EXPECT_TRUE(Allows(constraint, "{}"));
  EXPECT_FALSE(Allows(constraint, "[]"));
  EXPECT_FALSE(Allows(constraint, R"({"a": 1)"));
}

struct Fault {
  std::string schema;
  std::string where;
  absl::StatusCode code = absl::StatusCode::kUnimplemented;
};

TEST(JsonSchema, RefusesByThePathOfTheFault) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  const std::vector<Fault> faults = {
      {R"({"properties": {"a": {"pattern": "x"}}})", "properties.a.pattern"},
      {R"({"items": {"type": "string", "format": "date"}})", "items.format"},
      {R"({"patternProperties": {}})", "patternProperties"},
      {R"({"anyOf": [true, {"not": {}}]})", "anyOf.1.not"},
      {R"({"anyOf": [true], "type": "null"})", "type"},
      {R"({"allOf": [true, true]})", "allOf"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "oneOf"},
      {R"({"oneOf": [true, {"type": "number"}]})", "oneOf"},
      {R"({"enum": [1], "minimum": 0})", "minimum"},
      {R"({"type": "number", "minimum": 0})", "minimum"},
      {R"({"type": "array", "uniqueItems": true})", "uniqueItems"},
      {R"({"required": ["a"]})", "required"},
      {R"({"$ref": "http://example.com/x"})", "$ref"},
      {R"({"$ref": "#", "minLength": 1})", "minLength"},
      {R"({"$ref": "#/$defs/a"})", "$ref", kInvalid},
      {R"({"$ref": "#/$defs/a", "$defs": {"a": {"type": 1}}})", "$defs.a.type", kInvalid},
      {R"({"type": "strange"})", "type", kInvalid},
      {R"({"type": []})", "type", kInvalid},
      {R"(3)", "", kInvalid},
      {R"({"properties": {"a": 1}})", "properties.a", kInvalid},
      {R"({"properties": [1]})", "properties", kInvalid},
      {R"({"items": {"minItems": -1}})", "items.minItems", kInvalid},
      {R"({"maxLength": 10001})", "maxLength", kInvalid},
      {R"({"minimum": 0.5, "type": "integer"})", "minimum", kInvalid},
      {R"({"enum": 1})", "enum", kInvalid},
      {R"({"enum": []})", "", kInvalid},
      {R"({"anyOf": []})", "anyOf", kInvalid},
      {R"(false)", "", kInvalid},
      {R"({"$ref": "#"})", "", kInvalid},
      {R"({"anyOf": [{"const": 1}, {"anyOf": [{"$ref": "#"}]}]})", "", kInvalid},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "", kInvalid},
      {R"({"minItems": 9999, "items": {"minLength": 9999}, "prefixItems": [{"minLength": 10000}, {"minLength": 9998},
           {"minLength": 9997}]})",
       "", kInvalid},
  };
  for (const Fault& fault : faults) {
    std::string where = "";
    const absl::StatusOr<Grammar> grammar = JsonSchemaGrammar(Json::parse(fault.schema), &where);
    EXPECT_EQ(grammar.status().code(), fault.code) << fault.schema << grammar.status();
    EXPECT_EQ(where, fault.where) << fault.schema;
  }
}

TEST(JsonSchema, RefusesWhatIsTooLargeBeforeItGrows) {
  Json constants = Json::array(), names = Json::array(), properties = Json::object();
  for (int i = 0; i < 100'000; ++i) constants.push_back(std::to_string(i) + " is one of many");
  for (int i = 0; i < 513; ++i) {
    names.push_back("a");
    properties[std::to_string(i)] = true;
  }
  const std::vector<Json> schemas = {
      {{"enum", constants}},
      {{"oneOf", {{{"enum", constants}}, {{"enum", constants}}}}},
      {{"oneOf", Json::array_t(33, {{"type", "null"}})}},
      {{"properties", properties}},
      {{"properties", {{"a", true}}}, {"required", names}},
      {{"const", std::string(1 << 20, 'a')}},
  };
  for (const Json& schema : schemas) {
    std::string where;
    EXPECT_FALSE(JsonSchemaGrammar(schema, &where).ok()) << schema.dump().substr(0, 60);
  }
}

}  // namespace
}  // namespace ternion
