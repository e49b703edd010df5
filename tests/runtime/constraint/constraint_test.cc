#include "runtime/constraint/constraint.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runtime/constraint/json_schema.h"
#include "tests/runtime/constraint/schema_check.h"
#include "tests/support/fake_tokenizer.h"

namespace ternion {
namespace {

using Json = nlohmann::ordered_json;

const std::vector<std::string>& Schemas() {
  static const std::vector<std::string> schemas = {
      R"({"type": "object"})",
      R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0,
          "maximum": 130}, "tags": {"type": "array", "items": {"enum": ["a", "ab", "abc"]}, "maxItems": 3}},
          "required": ["name", "tags"]})",
      R"({"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [{"type": ["null", "number"]}, {"type": "array", "maxItems": 3,
          "items": {"$ref": "#/$defs/t"}}, {"type": "object", "properties": {"x": {"type": "string", "maxLength": 5}},
          "additionalProperties": {"type": "boolean"}}]}}})",
      // Counts that begin far from their ends and come to them.
      R"({"type": "array", "prefixItems": [{"type": "string", "minLength": 30, "maxLength": 40}], "items": {"enum": [1, 23]},
          "minItems": 3, "maxItems": 25})",
  };
  return schemas;
}

class ConstraintTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::Load(std::string(TERNION_SOURCE_DIR) + "/tests/data/tokenizer/small.json");
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
    vocabulary_ = std::make_shared<const VocabularyTrie>(*tokenizer_);
    schema_ = Json::parse(GetParam());
    std::string where;
    auto grammar = JsonSchemaGrammar(schema_, &where);
    ASSERT_TRUE(grammar.ok()) << grammar.status();
    grammar_ = *std::move(grammar);
    end_ = static_cast<int32_t>(tokenizer_->vocab_size());  // an id of the model that the tokenizer lacks
  }
  bool Bit(const TokenMask& mask, int32_t id) const { return (mask[id / 32] >> (id % 32) & 1) != 0; }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<const VocabularyTrie> vocabulary_;
  Json schema_;
  Grammar grammar_;
  int32_t end_ = 0;
};
INSTANTIATE_TEST_SUITE_P(, ConstraintTest, testing::ValuesIn(Schemas()),
                         [](const auto& test) { return "schema" + std::to_string(test.index); });

// Along random texts. Another constraint answers for single tokens, so that nothing it has found is shared.
TEST_P(ConstraintTest, TheMaskIsWhatTokenByTokenIsAllowed) {
  std::mt19937 random(1);
  const auto constraint = std::make_shared<Constraint>(grammar_, vocabulary_);
  const auto other = std::make_shared<Constraint>(grammar_, vocabulary_);
  for (int round = 0; round < 8; ++round) {
    Constraint::Text text(constraint), reference(other);
    for (int step = 0; step < 40; ++step) {
      const auto mask = text.Next({end_}, end_ + 1);
      ASSERT_TRUE(mask.ok()) << mask.status();
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < end_; ++id) {
        Constraint::Text tried = reference;
        const bool fits = tried.Add(id).ok();
        ASSERT_EQ(Bit(*mask, id), fits) << id << " " << tokenizer_->TokenBytes(id);
        if (fits) allowed.push_back(id);
      }
      ASSERT_EQ(Bit(*mask, end_), reference.complete());
      if (allowed.empty()) break;
      const int32_t token = allowed[random() % allowed.size()];
      ASSERT_TRUE(text.Add(token).ok() && reference.Add(token).ok());
    }
  }
}

// Random tokens among the allowed, that end where they may: what ends fits the schema.
TEST_P(ConstraintTest, WhatEndsIsJsonOfTheSchema) {
  std::mt19937 random(2);
  const auto constraint = std::make_shared<Constraint>(grammar_, vocabulary_);
  int ended = 0;
  for (int round = 0; round < 200; ++round) {
    Constraint::Text text(constraint);
    std::vector<int32_t> ids;
    for (int step = 0; step < 200; ++step) {
      const auto mask = text.Next({end_}, end_ + 1);
      ASSERT_TRUE(mask.ok()) << mask.status();
      // What closes is likelier, so that texts come to their ends.
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < end_; ++id) {
        if (!Bit(*mask, id)) continue;
        const std::string_view bytes = tokenizer_->TokenBytes(id);
        const bool closes = bytes.find_first_of("\"}]") != bytes.npos;
        allowed.insert(allowed.end(), closes ? 40 : 1, id);
      }
      if (Bit(*mask, end_) && (allowed.empty() || random() % 2 == 0)) {
        const std::string made = tokenizer_->Decode(ids, false);
        const Json value = Json::parse(made, nullptr, false);
        ASSERT_FALSE(value.is_discarded()) << made;
        ASSERT_TRUE(SchemaCheck(schema_).Fits(value)) << made;
        ++ended;
        break;
      }
      ids.push_back(allowed[random() % allowed.size()]);
      ASSERT_TRUE(text.Add(ids.back()).ok());
    }
  }
  EXPECT_GT(ended, 50);
}

TEST(Automaton, PlacesFarFromACountsEndAreAlike) {
  std::string where;
  const auto grammar =
      JsonSchemaGrammar(Json::parse(R"({"type": "string", "minLength": 40, "maxLength": 100})"), &where);
  ASSERT_TRUE(grammar.ok()) << grammar.status();
  Automaton automaton(*grammar);
  constexpr int64_t kBytes = 8;
  const auto alike_behind = [&](int characters) {
    int32_t state = automaton.Next(automaton.start(), '"');
    for (int i = 0; i < characters; ++i) state = automaton.Next(state, 'x');
    return automaton.Alike(state, kBytes);
  };
  EXPECT_EQ(alike_behind(3), alike_behind(30));
  EXPECT_NE(alike_behind(3), alike_behind(32)) << "8 characters later it may end";
  EXPECT_NE(alike_behind(3), alike_behind(50));
  EXPECT_EQ(alike_behind(50), alike_behind(90));
  EXPECT_NE(alike_behind(50), alike_behind(92)) << "8 characters later it must end";
  EXPECT_EQ(automaton.Alike(Automaton::kDead, kBytes), Automaton::kDead);
}

TEST(Constraint, SpecialTokensAreNoText) {
  const FakeTokenizer tokenizer;
  const auto vocabulary = std::make_shared<const VocabularyTrie>(tokenizer);
  Constraint::Text text(std::make_shared<Constraint>(JsonObjectGrammar(), vocabulary));
  ASSERT_TRUE(text.Add('{').ok() && text.Add('"').ok());
  const auto mask = text.Next({FakeTokenizer::kEndOfTurn}, FakeTokenizer::kVocabulary);
  ASSERT_TRUE(mask.ok());
  EXPECT_EQ((*mask)[FakeTokenizer::kBos / 32] & 0xf, 0u);
  EXPECT_TRUE(absl::IsInvalidArgument(text.Add(FakeTokenizer::kBos)));
}

// One token, and it is no beginning of an object.
class PoorTokenizer final : public Tokenizer {
 public:
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view, bool) const override {
    return std::vector<int32_t>();
  }
  absl::StatusOr<std::vector<int32_t>> EncodePlain(std::string_view) const override {
    return std::vector<int32_t>();
  }
  absl::StatusOr<std::vector<int32_t>> EncodeMixed(std::string_view,
                                                   absl::Span<const TextRange>) const override {
    return std::vector<int32_t>();
  }
  std::string Decode(absl::Span<const int32_t>, bool) const override { return ""; }
  std::string_view TokenBytes(int32_t) const override { return "x"; }
  bool IsSpecial(int32_t) const override { return false; }
  std::optional<int32_t> TokenId(std::string_view) const override { return std::nullopt; }
  int64_t vocab_size() const override { return 1; }
};

TEST(Constraint, ATokenizerThatCannotSpellItIsAnError) {
  const PoorTokenizer tokenizer;
  Constraint::Text text(
      std::make_shared<Constraint>(JsonObjectGrammar(), std::make_shared<const VocabularyTrie>(tokenizer)));
  const auto mask = text.Next({}, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(mask.status()));
  EXPECT_NE(std::string(mask.status().message()).find("no token"), std::string::npos);
}

// 2^n ways to read n levels of the same keys.
TEST(Constraint, TooMuchAmbiguityIsAnError) {
  // By references, so that the text stays small.
  Json root = {{"$ref", "#/$defs/0"}, {"$defs", Json::object()}};
  for (int level = 0; level < 30; ++level) {
    const Json below =
        level < 29 ? Json({{"$ref", "#/$defs/" + std::to_string(level + 1)}}) : Json({{"const", 1}});
    const Json one = {{"type", "object"}, {"properties", {{"a", below}}}, {"required", {"a"}}};
    root["$defs"][std::to_string(level)] = {{"anyOf", {one, one}}};
  }
  std::string where;
  auto grammar = JsonSchemaGrammar(root, &where);
  ASSERT_TRUE(grammar.ok()) << grammar.status();
  const FakeTokenizer tokenizer;
  Constraint::Text text(
      std::make_shared<Constraint>(*std::move(grammar), std::make_shared<const VocabularyTrie>(tokenizer)));
  absl::Status status;
  for (int i = 0; status.ok() && i < 30 * 5; ++i) {
    status = text.Add(static_cast<uint8_t>("{\"a\":"[i % 5]));
    if (status.ok()) status = text.Next({}, 256).status();
  }
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

}  // namespace
}  // namespace ternion
