// Penalties and log-probabilities on four ranks behind HTTP: the answers of one rank at the command line.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/demo_server.h"
#include "tests/support/program.h"

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
