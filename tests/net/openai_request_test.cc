#include "net/openai_request.h"

#include <gtest/gtest.h>

#include "net/http_error.h"

namespace ternion {
namespace {

struct Case {
  Endpoint endpoint;
  const char* body;
  const char* param;  // "" for errors that no parameter owns
};

template <size_t n>
void ExpectRefused(const Case (&cases)[n]) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.body);
    const auto request = ParseOpenAiRequest(c.endpoint, c.body);
    ASSERT_FALSE(request.ok());
    const HttpError error = ToHttpError(request.status());
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.param, c.param);
    EXPECT_NE(error.message, "");
  }
}

constexpr auto kText = Endpoint::kCompletions;
constexpr auto kTalk = Endpoint::kChat;

TEST(RefusedRequests, NameTheParameter) {
  const Case cases[] = {
      {kText, "", ""},
      {kText, "{", ""},
      {kText, "[]", ""},
      {kText, "\"prompt\"", ""},
      {kText, "{\"prompt\": \"\xff\"}", ""},
      {kText, R"({"prompt": NaN})", ""},
      {kText, R"({"prompt": "a", "temperature": 1e999})", ""},
      {kText, R"({"prompt": "a",})", ""},
      {kText, "{}", "prompt"},
      {kText, R"({"prompt": null})", "prompt"},
      {kText, R"({"prompt": 7})", "prompt"},
      {kText, R"({"prompt": {}})", "prompt"},
      {kText, R"({"prompt": []})", "prompt"},
      {kText, R"({"prompt": [[]]})", "prompt"},
      {kText, R"({"prompt": ["a", 1]})", "prompt"},
      {kText, R"({"prompt": [1, "a"]})", "prompt"},
      {kText, R"({"prompt": [[1], "a"]})", "prompt"},
      {kText, R"({"prompt": [-1]})", "prompt"},
      {kText, R"({"prompt": [1.5]})", "prompt"},
      {kText, R"({"prompt": [2147483648]})", "prompt"},
      {kText, R"({"prompt": [[1], 2]})", "prompt"},
      {kText, R"({"prompt": [[[1]]]})", "prompt"},
      {kText, R"({"prompt": "a", "model": 1})", "model"},
      {kText, R"({"prompt": "a", "user": 1})", "user"},
      {kText, R"({"prompt": "a", "stream": 1})", "stream"},
      {kText, R"({"prompt": "a", "stream": "true"})", "stream"},
      {kText, R"({"prompt": "a", "echo": 1})", "echo"},
      {kText, R"({"prompt": "a", "ignore_eos": "no"})", "ignore_eos"},
      {kText, R"({"prompt": "a", "max_tokens": 0})", "max_tokens"},
      {kText, R"({"prompt": "a", "max_tokens": -5})", "max_tokens"},
      {kText, R"({"prompt": "a", "max_tokens": 1.5})", "max_tokens"},
      {kText, R"({"prompt": "a", "max_tokens": "9"})", "max_tokens"},
      {kText, R"({"prompt": "a", "max_tokens": 18446744073709551615})", "max_tokens"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "max_completion_tokens": 0})",
       "max_completion_tokens"},
      {kText, R"({"prompt": "a", "temperature": -0.1})", "temperature"},
      {kText, R"({"prompt": "a", "temperature": 2.1})", "temperature"},
      {kText, R"({"prompt": "a", "temperature": "hot"})", "temperature"},
      {kText, R"({"prompt": "a", "top_p": 0})", "top_p"},
      {kText, R"({"prompt": "a", "top_p": 1.01})", "top_p"},
      {kText, R"({"prompt": "a", "top_k": -2})", "top_k"},
      {kText, R"({"prompt": "a", "top_k": 0.5})", "top_k"},
      {kText, R"({"prompt": "a", "seed": 1.5})", "seed"},
      {kText, R"({"prompt": "a", "seed": "x"})", "seed"},
      {kText, R"({"prompt": "a", "stop": 1})", "stop"},
      {kText, R"({"prompt": "a", "stop": ""})", "stop"},
      {kText, R"({"prompt": "a", "stop": ["a", ""]})", "stop"},
      {kText, R"({"prompt": "a", "stop": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]})", "stop"},
      {kText, R"({"prompt": "a", "stop_token_ids": [-1]})", "stop_token_ids"},
      {kText, R"({"prompt": "a", "stop_token_ids": 3})", "stop_token_ids"}};
  ExpectRefused(cases);
}

TEST(RefusedRequests, NameHowTokensAreDrawn) {
  const Case cases[] = {{kText, R"({"prompt": "a", "min_p": -0.1})", "min_p"},
                        {kText, R"({"prompt": "a", "min_p": 1.1})", "min_p"},
                        {kText, R"({"prompt": "a", "repetition_penalty": 0})", "repetition_penalty"},
                        {kText, R"({"prompt": "a", "repetition_penalty": -1})", "repetition_penalty"},
                        {kText, R"({"prompt": "a", "repetition_penalty": 1e39})", "repetition_penalty"},
                        {kText, R"({"prompt": "a", "repetition_penalty": 1e-60})", "repetition_penalty"},
                        {kText, R"({"prompt": "a", "repetition_penalty": "1"})", "repetition_penalty"},
                        {kText, R"({"prompt": "a", "presence_penalty": 2.1})", "presence_penalty"},
                        {kText, R"({"prompt": "a", "presence_penalty": -2.1})", "presence_penalty"},
                        {kText, R"({"prompt": "a", "frequency_penalty": 3})", "frequency_penalty"},
                        {kText, R"({"prompt": "a", "frequency_penalty": true})", "frequency_penalty"},
                        {kText, R"({"prompt": "a", "logit_bias": [1]})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"x": 1}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"-1": 1}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"07": 1}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"7 ": 1}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"": 1}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"2147483648": 1}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"5": 100.5}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"5": -101}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "logit_bias": {"5": "1"}})", "logit_bias"},
                        {kText, R"({"prompt": "a", "min_tokens": -1})", "min_tokens"},
                        {kText, R"({"prompt": "a", "min_tokens": 6, "max_tokens": 5})", "min_tokens"},
                        {kText, R"({"prompt": "a", "priority": 0.5})", "priority"},
                        {kText, R"({"prompt": "a", "priority": 3000000000})", "priority"}};
  ExpectRefused(cases);
}

TEST(RefusedRequests, NameLogprobs) {
  const Case cases[] = {
      {kText, R"({"prompt": "a", "logprobs": -1})", "logprobs"},
      {kText, R"({"prompt": "a", "logprobs": 21})", "logprobs"},
      {kText, R"({"prompt": "a", "logprobs": true})", "logprobs"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "logprobs": 2})", "logprobs"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "logprobs": true, "top_logprobs": 21})",
       "top_logprobs"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2})", "top_logprobs"}};
  ExpectRefused(cases);
}

TEST(RefusedRequests, NameStreamOptions) {
  ExpectRefused({{kText, R"({"prompt": "a", "stream_options": {"include_usage": true}})", "stream_options"},
                 {kText, R"({"prompt": "a", "stream": true, "stream_options": []})", "stream_options"},
                 {kText, R"({"prompt": "a", "stream": true, "stream_options": {"include_usage": 1}})",
                  "stream_options"}});
}

// What is known and cannot be honoured is refused: an answer without it would look right and be wrong.
TEST(RefusedRequests, NameWhatThisVersionCannotDo) {
  const Case cases[] = {
      {kText, R"({"prompt": "a", "n": 0})", "n"},
      {kText, R"({"prompt": "a", "n": 129})", "n"},
      {kText, R"({"prompt": "a", "n": "1"})", "n"},
      {kText, R"({"prompt": ["a", "b", "c", "d", "e", "f", "g", "h", "i"], "n": 128})", "n"},
      {kText, R"({"prompt": "a", "n": 3, "best_of": 4})", "best_of"},
      {kText, R"({"prompt": "a", "best_of": 2})", "best_of"},
      {kText, R"({"prompt": "a", "prompt_logprobs": 1})", "prompt_logprobs"},
      {kText, R"({"prompt": "a", "top_logprobs": 1})", "top_logprobs"},
      {kText, R"({"prompt": "a", "suffix": "b"})", "suffix"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]})",
       "tools"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "tool_choice": "required"})",
       "tool_choice"},
      {kText, R"({"prompt": "a", "guided_regex": "x*"})", "guided_regex"},
      {kText, R"({"prompt": "a", "structured_outputs": {"regex": "x"}})", "structured_outputs"},
      {kText, R"({"prompt": "a", "response_format": {"type": "grammar"}})", "response_format.type"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "echo": true})", "echo"}};
  ExpectRefused(cases);
}

TEST(RefusedRequests, NameWhatConstrainsTheText) {
  ExpectRefused(
      {{kText, R"({"prompt": "a", "response_format": "text"})", "response_format"},
       {kText, R"({"prompt": "a", "response_format": {}})", "response_format"},
       {kText, R"({"prompt": "a", "response_format": {"type": "json_schema"}})",
        "response_format.json_schema"},
       {kText, R"({"prompt": "a", "response_format": {"type": "json_schema", "json_schema": {"name": "x"}}})",
        "response_format.json_schema"},
       {kText, R"({"prompt": "a", "guided_json": "{"})", "guided_json"},
       {kText, R"({"prompt": "a", "guided_choice": []})", "guided_choice"},
       {kText, R"({"prompt": "a", "guided_choice": "a"})", "guided_choice"},
       {kText, R"({"prompt": "a", "guided_choice": ["a", ""]})", "guided_choice"},
       {kText, R"({"prompt": "a", "guided_choice": ["a"], "guided_json": {}})", "guided_choice"},
       {kText, R"({"prompt": "a", "response_format": {"type": "json_object"}, "guided_json": {}})",
        "guided_json"},
       {kText, R"({"prompt": "a", "guided_json": {}, "ignore_eos": true})", "ignore_eos"},
       {kText, R"({"prompt": "a", "guided_json": {}, "min_tokens": 1})", "min_tokens"}});
}

TEST(RefusedRequests, NameThePlaceInTheMessages) {
  const Case cases[] = {
      {kTalk, "{}", "messages"},
      {kTalk, R"({"messages": "hi"})", "messages"},
      {kTalk, R"({"messages": []})", "messages"},
      {kTalk, R"({"messages": ["hi"]})", "messages[0]"},
      {kTalk, R"({"messages": [{"content": "a"}]})", "messages[0].role"},
      {kTalk, R"({"messages": [{"role": 1, "content": "a"}]})", "messages[0].role"},
      {kTalk, R"({"messages": [{"role": "user"}]})", "messages[0].content"},
      {kTalk, R"({"messages": [{"role": "user", "content": null}]})", "messages[0].content"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": 5}]})",
       "messages[1].content"},
      {kTalk, R"({"messages": [{"role": "user", "content": ["a"]}]})", "messages[0].content[0]"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": [1]})",
       "chat_template_kwargs"},
      {kTalk, R"({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": {"messages": []}})",
       "chat_template_kwargs"},
      {kTalk, R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})", "messages[0].content[0]"},
      {kTalk,
       R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]})",
       "messages[0].content[1]"}};
  ExpectRefused(cases);
}

TEST(OpenAiRequest, DefaultsAreOpenAis) {
  const auto request = ParseOpenAiRequest(kText, R"({"prompt": "a"})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->sampling.temperature, 1.0f);
  EXPECT_EQ(request->sampling.top_p, 1.0f);
  EXPECT_EQ(request->sampling.top_k, 0);
  EXPECT_FALSE(request->seed.has_value());
  EXPECT_FALSE(request->max_tokens.has_value());
  EXPECT_FALSE(request->stream);
  EXPECT_FALSE(request->ignore_eos);
  EXPECT_TRUE(request->stop.empty());
}

TEST(OpenAiRequest, ReadsWhatItSupports) {
  const auto request =
      ParseOpenAiRequest(kText, R"({"model": "m", "prompt": "a", "max_tokens": 7, "temperature": 0.5,
      "top_p": 0.25, "top_k": 40, "seed": -3, "stop": ["x", "yz"], "stop_token_ids": [1, 2], "ignore_eos": true,
      "stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true}, "echo": true,
      "user": "me"})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->model, "m");
  EXPECT_EQ(request->max_tokens, 7);
  EXPECT_EQ(request->sampling.temperature, 0.5f);
  EXPECT_EQ(request->sampling.top_p, 0.25f);
  EXPECT_EQ(request->sampling.top_k, 40);
  EXPECT_EQ(request->seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(request->stop, (std::vector<std::string>{"x", "yz"}));
  EXPECT_EQ(request->stop_token_ids, (std::vector<int32_t>{1, 2}));
  EXPECT_TRUE(request->ignore_eos && request->stream && request->include_usage && request->continuous_usage &&
              request->echo);
}

// Clients send the neutral value of what they do not use; null is as good as absent, and strange fields are
// ignored.
TEST(OpenAiRequest, TakesNeutralValuesNullsAndUnknownFields) {
  const auto request =
      ParseOpenAiRequest(kText, R"({"prompt": "a", "n": 1, "best_of": 1, "presence_penalty": 0,
      "frequency_penalty": 0.0, "repetition_penalty": 1.0, "min_p": 0, "min_tokens": 0, "logit_bias": {},
      "logprobs": null, "suffix": "", "tools": [], "tool_choice": "none", "response_format": {"type": "text"},
      "seed": null, "stop": null, "max_tokens": null, "stream_options": null, "top_k": -1, "never_heard_of": [1]})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->sampling.top_k, 0);
}

TEST(OpenAiRequest, TakesTheEndsOfTheRanges) {
  const auto request = ParseOpenAiRequest(kText, R"({"prompt": "a", "min_p": 1, "repetition_penalty": 1e-3,
      "presence_penalty": -2, "frequency_penalty": 2, "logit_bias": {"0": 100, "2147483647": -100}, "min_tokens": 5,
      "max_tokens": 5, "logprobs": 20, "priority": -2147483648})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->logit_bias.size(), 2u);
  EXPECT_EQ(request->sampling.repetition_penalty, 1e-3f);
  EXPECT_EQ(request->logprobs, 20);
}

TEST(OpenAiRequest, LogprobsAreANumberInCompletionsAndTwoFieldsInChat) {
  const auto logprobs = [](Endpoint endpoint, const std::string& fields) {
    const std::string input =
        endpoint == kText ? R"("prompt": "a")" : R"("messages": [{"role": "user", "content": "a"}])";
    const auto request = ParseOpenAiRequest(endpoint, "{" + input + fields + "}");
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? request->logprobs : -2;
  };
  EXPECT_EQ(logprobs(kText, ""), -1);
  EXPECT_EQ(logprobs(kText, R"(, "logprobs": 0)"), 0);
  EXPECT_EQ(logprobs(kTalk, ""), -1);
  EXPECT_EQ(logprobs(kTalk, R"(, "logprobs": false, "top_logprobs": 0)"), -1);
  EXPECT_EQ(logprobs(kTalk, R"(, "logprobs": true)"), 0);
  EXPECT_EQ(logprobs(kTalk, R"(, "logprobs": true, "top_logprobs": 20)"), 20);
}

TEST(OpenAiRequest, WithEchoThereMayBeNothingToGenerate) {
  const auto request = ParseOpenAiRequest(kText, R"({"prompt": "a", "echo": true, "max_tokens": 0})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->max_tokens, 0);
}

TEST(OpenAiRequest, KeepsTheOrderOfASchemasProperties) {
  const auto request =
      ParseOpenAiRequest(kTalk, R"({"messages": [{"role": "user", "content": "a"}], "guided_json": null,
      "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": {"z": 1, "a": 2}}}})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->text_schema.dump(), R"({"z":1,"a":2})");
  const auto guided = ParseOpenAiRequest(
      kText,
      R"({"prompt": "a", "response_format": {"type": "text"}, "guided_json": "{\"z\": 1, \"a\": 2}"})");
  ASSERT_TRUE(guided.ok()) << guided.status();
  EXPECT_EQ(guided->text_schema.dump(), R"({"z":1,"a":2})");
}

TEST(OpenAiRequest, TakesSeveralChoices) {
  const auto request = ParseOpenAiRequest(kText, R"({"prompt": ["a", "b"], "n": 128, "best_of": 128})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->n, 128);
}

TEST(OpenAiRequest, ReadsTheFourShapesOfAPrompt) {
  const auto prompts = [](const char* json) {
    const auto request = ParseOpenAiRequest(kText, std::string("{\"prompt\": ") + json + "}");
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? request->prompts : std::vector<PromptInput>();
  };
  EXPECT_EQ(prompts(R"("ab")"), (std::vector<PromptInput>{"ab"}));
  EXPECT_EQ(prompts(R"(["ab", ""])"), (std::vector<PromptInput>{"ab", ""}));
  EXPECT_EQ(prompts("[5, 6]"), (std::vector<PromptInput>{std::vector<int32_t>{5, 6}}));
  EXPECT_EQ(prompts("[[5], [6, 7]]"),
            (std::vector<PromptInput>{std::vector<int32_t>{5}, std::vector<int32_t>{6, 7}}));
}

TEST(OpenAiRequest, JoinsTheTextPartsOfAMessage) {
  const auto request = ParseOpenAiRequest(kTalk, R"({"messages": [{"role": "system", "content": "be brief"},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})");
  ASSERT_TRUE(request.ok()) << request.status();
  ASSERT_EQ(request->messages.size(), 2u);
  EXPECT_EQ(request->messages[0].role, "system");
  EXPECT_EQ(request->messages[1].content, "ab");
  EXPECT_EQ(request->messages[1].parts, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(request->add_generation_prompt);
}

TEST(OpenAiRequest, TellsTheByteOfASyntaxError) {
  const auto request = ParseOpenAiRequest(kText, R"({"prompt": bad})");
  EXPECT_NE(request.status().message().find("byte 12"), absl::string_view::npos) << request.status();
}

TEST(OpenAiRequest, RefusesDeepNestingAtOnceAndTakesTheDepthBelow) {
  const auto nested = [](size_t depth) {
    return R"({"prompt": "a[[[", "x": )" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_TRUE(ParseOpenAiRequest(kText, nested(63)).ok());
  const auto refused = ParseOpenAiRequest(kText, nested(64));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("deeper than 64"), absl::string_view::npos);
  EXPECT_FALSE(ParseOpenAiRequest(kText, std::string(1000000, '[')).ok());
}

}  // namespace
}  // namespace ternion
