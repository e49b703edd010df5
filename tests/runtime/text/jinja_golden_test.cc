#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/json.h"
#include "runtime/text/jinja/letter_case.h"
#include "runtime/text/jinja/template.h"

namespace ternion::jinja {
namespace {

// Ordered, because a template shows a dict in its order.
using nlohmann::ordered_json;

const std::string kFolder = TERNION_SOURCE_DIR "/tests/data/chat_templates/";

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  EXPECT_TRUE(stream) << path;
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// What tests/tools/chat_templates.py wrote; with TERNION_CHAT_GOLDEN that of other models' templates, which lie in the
// folder TERNION_CHAT_FOLDER.
const ordered_json& Golden() {
  static const auto* const golden = [] {
    const char* other = std::getenv("TERNION_CHAT_GOLDEN");
    return new ordered_json(
        ordered_json::parse(ReadFile(other == nullptr ? kFolder + "golden.json" : other)));
  }();
  return *golden;
}

std::string TemplateFile(const std::string& name) {
  const char* other = std::getenv("TERNION_CHAT_FOLDER");
  return ReadFile((other == nullptr ? kFolder : std::string(other) + "/") + name);
}

// 2026-02-03 14:05:09, a Tuesday.
std::tm Now() {
  std::tm now{};
  now.tm_year = 126;
  now.tm_mon = 1;
  now.tm_mday = 3;
  now.tm_hour = 14;
  now.tm_min = 5;
  now.tm_sec = 9;
  now.tm_wday = 2;
  now.tm_yday = 33;
  return now;
}

Value ValueOf(const ordered_json& json) {
  if (json.is_array()) {
    std::vector<Value> items;
    for (const ordered_json& item : json) items.push_back(ValueOf(item));
    return Value::List(std::move(items));
  }
  if (!json.is_object()) return FromJson(nlohmann::json(json));
  auto dict = std::make_shared<Dict>();
  for (const auto& [name, value] : json.items()) dict->Set(name, ValueOf(value));
  return Value::Of(std::shared_ptr<const Dict>(std::move(dict)));
}

Variables VariablesOf(const ordered_json& json) {
  Variables variables;
  for (const auto& [name, value] : json.items()) variables.emplace_back(name, ValueOf(value));
  return variables;
}

// One row: what Python showed, or how it failed.
void Check(const std::string& source, const Variables& variables, const ordered_json& row) {
  SCOPED_TRACE(row.dump());
  const auto parsed = Template::Parse(source);
  if (row.value("fails", "") == "parse") {
    EXPECT_FALSE(parsed.ok());
    return;
  }
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const auto text = (*parsed)->Render(variables, Now());
  if (row.contains("text")) {
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(text->bytes(), row["text"].get<std::string>());
  } else {
    ASSERT_FALSE(text.ok()) << text->bytes();
    const std::string message(text.status().message());
    if (row.contains("raised")) {
      EXPECT_EQ(message, row["raised"].get<std::string>());
    } else {
      EXPECT_EQ(message.rfind("line ", 0), 0u) << message;
    }
  }
}

TEST(JinjaGolden, ShowsConversationsAsPythonsJinja2) {
  ASSERT_FALSE(Golden()["templates"].empty());
  for (const ordered_json& row : Golden()["templates"]) {
    ordered_json variables = Golden()["always"];
    variables["messages"] = Golden()["conversations"][row["conversation"].get<std::string>()];
    variables["add_generation_prompt"] = row["prompt"];
    Check(TemplateFile(row["template"]), VariablesOf(variables), row);
  }
}

TEST(JinjaGolden, EvaluatesExpressionsAndStatementsAsPythonsJinja2) {
  if (!Golden().contains("cases")) GTEST_SKIP() << "templates alone";
  const Variables variables = VariablesOf(Golden()["variables"]);
  for (const ordered_json& row : Golden()["cases"]) Check(row["template"], variables, row);
}

// FNV-1a of what becomes of every character.
std::string CaseDigest(std::string (*map)(std::string_view)) {
  uint64_t digest = 0xCBF29CE484222325u;
  for (uint32_t c = 0; c < 0x110000; ++c) {
    std::string character;
    if (c < 0xD800 || c >= 0xE000) AppendUtf8(c, character);
    for (const char byte : map(character)) digest = (digest ^ static_cast<uint8_t>(byte)) * 0x100000001B3u;
  }
  return absl::StrCat(absl::Hex(digest, absl::kZeroPad16));
}

TEST(JinjaGolden, ChangesTheCaseOfEveryCharacterAsPython) {
  const ordered_json& expected = Golden()["letter_case"];
  EXPECT_EQ(CaseDigest(ToUpper), expected["upper"].get<std::string>());
  EXPECT_EQ(CaseDigest(ToLower), expected["lower"].get<std::string>());
  EXPECT_EQ(CaseDigest(Capitalize), expected["capitalize"].get<std::string>());
}

}  // namespace
}  // namespace ternion::jinja
