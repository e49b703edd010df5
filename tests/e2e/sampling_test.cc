// Penalties and log-probabilities on four ranks behind HTTP: the answers of one rank at the command line.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/demo_server.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;

TEST(SamplingTest, ServerAndGenerateDrawTheSame) {
  const json generated = RunForJson(
      1, 1,
      {"generate", DemoModel(), "--prompt=An iterator", "--max-tokens=40", "--ignore-eos",
       "--temperature=0.9", "--seed=5", "--min-p=0.02", "--repetition-penalty=1.2", "--presence-penalty=0.3",
       "--frequency-penalty=0.2", "--logit-bias=263:-3,311:1", "--min-tokens=40", "--logprobs=2"});
  ASSERT_EQ(generated["logprobs"].size(), 40u);
  json request = CompletionRequest("An iterator", 40);
  request.update({{"temperature", 0.9},
                  {"seed", 5},
                  {"min_p", 0.02},
                  {"repetition_penalty", 1.2},
                  {"presence_penalty", 0.3},
                  {"frequency_penalty", 0.2},
                  {"logit_bias", {{"263", -3}, {"311", 1}}},
                  {"min_tokens", 40},
                  {"logprobs", 2}});
  DemoServer server(2, 2);
  const json choice = Body(Post(server.port(), request.dump()))["choices"][0];
  EXPECT_EQ(choice["text"], generated["text"]);
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_NEAR(choice["logprobs"]["token_logprobs"][i].get<double>(),
                generated["logprobs"][i]["logprob"].get<double>(), 1e-6);
  }
}

TEST(SamplingTest, GenerateWritesJsonOfASchema) {
  const TempFolder folder;
  const std::string schema =
      folder.Write("schema.json",
                   R"({"type": "object", "properties": {"b": {"type": "integer", "minimum": 3, "maximum": 5},
          "a": {"enum": ["x", "yy"]}}, "required": ["b", "a"]})");
  const json generated =
      RunForJson(1, 1, {"generate", DemoModel(), "--prompt=A", "--max-tokens=60", "--json-schema=" + schema});
  const json value = json::parse(generated["text"].get<std::string>(), nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(value.is_object()) << generated;
  EXPECT_TRUE(value.size() == 2 && value["b"] >= 3 && value["b"] <= 5) << value;
  EXPECT_EQ(generated["finish_reason"], "stop");
  const json object =
      RunForJson(1, 1, {"generate", DemoModel(), "--prompt=A", "--max-tokens=4", "--json-object"});
  EXPECT_EQ(object["text"].get<std::string>()[0], '{');
}

TEST(SamplingTest, GenerateRefusesASchemaByItsPath) {
  const TempFolder folder;
  const auto refusal = [&](const std::string& text) {
    const std::string path = folder.Write("schema.json", text);
    const ProgramResult run = RunProgram(1, {"generate", DemoModel(), "--prompt=A", "--json-schema=" + path});
    EXPECT_EQ(run.exit_status, 2);
    return run.err.substr(run.err.find(path) + path.size());
  };
  EXPECT_EQ(refusal(R"({"properties": {"a": {"pattern": "x"}}})").rfind(": properties.a.pattern: ", 0), 0u);
  EXPECT_NE(refusal("{").find("1"), std::string::npos) << "the place in the text";
}

// The sum of a prompt's log-probabilities is that of its tokens when they are generated.
TEST(SamplingTest, EchoTellsOfThePromptWhatWasToldWhenItWasGenerated) {
  DemoServer server(2, 1);
  json request = CompletionRequest("The std::vector class", 30);
  request["logprobs"] = 0;
  const json generated = Body(Post(server.port(), request.dump()))["choices"][0];
  json echo = {{"model", "demo"},
               {"prompt", "The std::vector class" + generated["text"].get<std::string>()},
               {"max_tokens", 0},
               {"echo", true},
               {"logprobs", 0}};
  const json echoed = Body(Post(server.port(), echo.dump()))["choices"][0];
  EXPECT_EQ(echoed["text"], echo["prompt"]);
  const json& all = echoed["logprobs"];
  const auto count = all["tokens"].size(), prompt = count - 30;
  EXPECT_TRUE(all["token_logprobs"][0].is_null());
  for (size_t i = 0; i < 30; ++i) {
    ASSERT_EQ(all["tokens"][prompt + i], generated["logprobs"]["tokens"][i]) << "the text gives other tokens";
    EXPECT_EQ(all["token_logprobs"][prompt + i], generated["logprobs"]["token_logprobs"][i]) << i;
  }
}

}  // namespace
}  // namespace ternion
