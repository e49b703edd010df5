#include <gtest/gtest.h>

#include "tests/net/server_fixture.h"

#include "net/http_response.h"
#include "runtime/serving/retry_after.h"

namespace ternion {
namespace {

using nlohmann::json;

TEST(Completions, AnswerHasOpenAisShape) {
  TestServer server(Replies("hello"));
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kCompletions, R"({"model": "demo", "prompt": "say"})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.headers.at("content-type"), "application/json");
  json body = Json(reply);
  EXPECT_EQ(body["id"].get<std::string>().substr(0, 5), "cmpl-");
  EXPECT_GT(body["created"].get<int64_t>(), 1600000000);
  body.erase("id");
  body.erase("created");
  // The prompt is BOS and three bytes; the end token counts as generated.
  EXPECT_EQ(body, json::parse(R"({"object": "text_completion", "model": "demo",
      "choices": [{"index": 0, "text": "hello", "logprobs": null, "finish_reason": "stop"}],
      "usage": {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 0}}})"));
}

TEST(Completions, GoToTheEngineAsAsked) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  client.Post(kCompletions,
              R"({"prompt": [5, 6, 7], "max_tokens": 9, "temperature": 0.5, "top_p": 0.5, "top_k": 3,
      "seed": 11, "stop_token_ids": [4], "ignore_eos": true, "min_p": 0.25, "repetition_penalty": 1.5,
      "presence_penalty": -0.5, "frequency_penalty": 2, "logit_bias": {"7": -100, "9": 2.5}, "min_tokens": 3,
      "logprobs": 2, "priority": -4})");
  const GenerateRequest request = server.generator.requests().at(0);
  EXPECT_EQ(request.prompt, (std::vector<int32_t>{5, 6, 7}));
  EXPECT_EQ(request.max_tokens, 9);
  EXPECT_EQ(request.sampling.temperature, 0.5f);
  EXPECT_EQ(request.sampling.top_p, 0.5f);
  EXPECT_EQ(request.sampling.top_k, 3);
  EXPECT_EQ(request.sampling.seed, 11u);
  EXPECT_EQ(request.stop_ids, (std::vector<int32_t>{4}));
  EXPECT_TRUE(request.ignore_eos);
  EXPECT_EQ(request.sampling.min_p, 0.25f);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(request.sampling.presence_penalty, -0.5f);
  EXPECT_EQ(request.sampling.frequency_penalty, 2.0f);
  EXPECT_EQ(request.logit_bias, (std::vector<std::pair<int32_t, float>>{{7, -100.0f}, {9, 2.5f}}));
  EXPECT_EQ(request.min_tokens, 3);
  EXPECT_EQ(request.logprobs, 2);
  EXPECT_EQ(request.prompt_logprobs, -1);
  EXPECT_EQ(request.priority, -4);
}

TEST(Completions, WithoutASeedEveryRequestDrawsItsOwn) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  client.Post(kCompletions, R"({"prompt": ["a", "b"]})");
  const auto requests = server.generator.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_NE(requests[0].sampling.seed, requests[1].sampling.seed);
}

TEST(Completions, MaxTokensEndWithLengthAndTheContextIsTheDefault) {
  FakeGenerator::Behaviour behaviour;
  behaviour.max_model_len = 16;
  TestServer server(behaviour);
  HttpClient client(server.port());
  const json limited = Json(client.Post(kCompletions, R"({"prompt": "ab", "max_tokens": 5})"));
  EXPECT_EQ(limited["choices"][0]["text"], "ababa");
  EXPECT_EQ(limited["choices"][0]["finish_reason"], "length");
  const json full = Json(client.Post(kCompletions, R"({"prompt": "ab", "max_tokens": 1000})"));
  EXPECT_EQ(full["usage"]["total_tokens"], 16);
  const json open = Json(client.Post(kCompletions, R"({"prompt": "ab"})"));
  EXPECT_EQ(open["usage"]["total_tokens"], 16);
  const HttpReply brim = client.Post(kCompletions, R"({"prompt": "123456789012345"})");
  EXPECT_EQ(Json(brim)["usage"]["completion_tokens"], 1) << brim.body;
}

TEST(Completions, RefuseAPromptThatDoesNotFit) {
  FakeGenerator::Behaviour behaviour;
  behaviour.max_model_len = 8;
  TestServer server(behaviour);
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kCompletions, R"({"prompt": ["ok", "123456789"]})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(Json(reply)["error"]["param"], "prompt");
  EXPECT_TRUE(server.generator.requests().empty());
}

TEST(Completions, PassOnWhatTheEngineRefuses) {
  TestServer server;
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kCompletions, R"({"prompt": [999]})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(Json(reply)["error"]["type"], "invalid_request_error");
}

TEST(Completions, RefuseIdsThatTheTokenizerDoesNotHave) {
  TestServer server;
  HttpClient client(server.port());
  const auto param = [&](const char* body) {
    return Json(client.Post(kCompletions, body))["error"]["param"];
  };
  EXPECT_EQ(param(R"({"prompt": "a", "logit_bias": {"260": 1}})"), "logit_bias");
  EXPECT_EQ(param(R"({"prompt": "a", "stop_token_ids": [3, 260]})"), "stop_token_ids");
  EXPECT_TRUE(server.generator.requests().empty());
}

// Of a prompt that has several choices, once.
TEST(Completions, TellWhatWasCached) {
  FakeGenerator::Behaviour behaviour = Replies("x");
  behaviour.cached_tokens = 2;
  TestServer server(behaviour);
  HttpClient client(server.port());
  const json body = Json(client.Post(kCompletions, R"({"prompt": ["abc", "abd"], "n": 2})"));
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
}

TEST(Completions, SeveralPromptsGiveSeveralChoices) {
  TestServer server;
  HttpClient client(server.port());
  const json body = Json(client.Post(kCompletions, R"({"prompt": ["ab", "xyz"], "max_tokens": 4})"));
  ASSERT_EQ(body["choices"].size(), 2u);
  EXPECT_EQ(body["choices"][0]["index"], 0);
  EXPECT_EQ(body["choices"][0]["text"], "abab");
  EXPECT_EQ(body["choices"][1]["index"], 1);
  EXPECT_EQ(body["choices"][1]["text"], "xyzx");
  EXPECT_EQ(
      body["usage"],
      json::parse(
          R"({"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 0}})"));
}

// Side by side, of one prompt that is counted once; each with a seed of its own.
TEST(Completions, NGivesEveryPromptSeveralChoices) {
  TestServer server;
  HttpClient client(server.port());
  const json body =
      Json(client.Post(kCompletions, R"({"prompt": ["ab", "xyz"], "max_tokens": 4, "n": 3, "seed": 7})"));
  ASSERT_EQ(body["choices"].size(), 6u);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(body["choices"][i]["index"], i);
    EXPECT_EQ(body["choices"][i]["text"], i < 3 ? "abab" : "xyzx");
  }
  EXPECT_EQ(
      body["usage"],
      json::parse(
          R"({"prompt_tokens": 7, "completion_tokens": 24, "total_tokens": 31, "prompt_tokens_details": {"cached_tokens": 0}})"));
  std::vector<uint64_t> seeds;
  for (const GenerateRequest& request : server.generator.requests()) seeds.push_back(request.sampling.seed);
  EXPECT_EQ(seeds, (std::vector<uint64_t>{7, 8, 9, 7, 8, 9}));
  client.Post(kCompletions, R"({"prompt": "a", "n": 2})");
  const auto requests = server.generator.requests();
  EXPECT_NE(requests[6].sampling.seed, requests[7].sampling.seed);
}

TEST(Completions, EchoPutsThePromptInFront) {
  TestServer server(Replies("!"));
  HttpClient client(server.port());
  EXPECT_EQ(Json(client.Post(kCompletions, R"({"prompt": "hi", "echo": true})"))["choices"][0]["text"],
            "hi!");
  EXPECT_EQ(Json(client.Post(kCompletions, R"({"prompt": [256, 104], "echo": true})"))["choices"][0]["text"],
            "h!");
}

TEST(Completions, StopStringsAreFoundAcrossTokensAndNotShown) {
  TestServer server(Replies("one STOP two"));
  server.generator.Hold();
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stop": ["zzz", " STOP"]})"));
  ASSERT_TRUE(server.generator.WaitForRequests(1));
  server.generator.Release();
  const json body = Json(client.Read());
  EXPECT_EQ(body["choices"][0]["text"], "one");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(body["usage"]["completion_tokens"], 8);
}

TEST(Completions, AStopStringCancelsWhatTheEngineStillDoes) {
  FakeGenerator::Behaviour behaviour;
  behaviour.step = std::chrono::microseconds(500);
  behaviour.max_model_len = 1000000;
  TestServer server(behaviour);
  HttpClient client(server.port());
  const json body = Json(client.Post(kCompletions, R"({"prompt": "abc", "stop": "ca"})"));
  EXPECT_EQ(body["choices"][0]["text"], "ab");
  EXPECT_TRUE(server.generator.WaitForCancelled(1));
}

TEST(Completions, AModelOfAnotherNameIs404) {
  TestServer server;
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kCompletions, R"({"model": "other", "prompt": "a"})");
  EXPECT_EQ(reply.status, 404);
  const json error = Json(reply)["error"];
  EXPECT_EQ(error["param"], "model");
  EXPECT_EQ(error["code"], "model_not_found");
  EXPECT_NE(error["message"].get<std::string>().find("demo"), std::string::npos);
}

TEST(Completions, AFullQueueIs429AndCancelsTheRest) {
  FakeGenerator::Behaviour behaviour;
  behaviour.queue = 2;
  TestServer server(behaviour);
  server.generator.Hold();
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kCompletions, R"({"prompt": ["a", "b", "c"]})");
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(reply.headers.at("retry-after"), "1");
  EXPECT_EQ(Json(reply)["error"]["type"], "rate_limit_error");
  EXPECT_EQ(server.generator.cancelled(), 2u);
}

// When to come again is the engine's estimate, whether the queue was full at once or the request waited in vain.
TEST(Completions, ARefusalSaysWhenToComeAgain) {
  const absl::Status refusals[] = {absl::ResourceExhaustedError("the queue is full"),
                                   absl::DeadlineExceededError("it waited too long")};
  for (const absl::Status& refusal : refusals) {
    const HttpResponse response =
        ErrorResponse(ToHttpError(WithRetryAfter(refusal, std::chrono::seconds(17))));
    EXPECT_EQ(response.status, 429) << refusal;
    ASSERT_EQ(response.headers.size(), 1u);
    EXPECT_EQ(response.headers[0].first, "Retry-After");
    EXPECT_EQ(response.headers[0].second, "17");
  }
  EXPECT_EQ(ToHttpError(absl::DeadlineExceededError("it ran too long")).status, 504);
}

TEST(Completions, AnEngineThatIsNotReadyIs503AndAFaultIs500) {
  FakeGenerator::Behaviour behaviour;
  behaviour.fail_after_tokens = 3;
  TestServer server(behaviour);
  HttpClient client(server.port());
  const HttpReply failed = client.Post(kCompletions, R"({"prompt": "a"})");
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(Json(failed)["error"]["message"], "the fake engine failed");
  server.generator.SetReady(absl::UnavailableError("rank 3 was lost"));
  const HttpReply unready = client.Post(kCompletions, R"({"prompt": "a"})");
  EXPECT_EQ(unready.status, 503);
  EXPECT_EQ(Json(unready)["error"]["message"], "rank 3 was lost");
}

TEST(Completions, InvalidUtf8FromTheModelBecomesReplacementCharacters) {
  TestServer server(Replies("a\xff\xc3"));
  HttpClient client(server.port());
  EXPECT_EQ(Json(client.Post(kCompletions, R"({"prompt": "a"})"))["choices"][0]["text"],
            "a\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Completions, AnswersAreEscapedJson) {
  TestServer server(Replies("\"\\\n\t\x01 \xC3\xA4"));
  HttpClient client(server.port());
  EXPECT_EQ(Json(client.Post(kCompletions, R"({"prompt": "a"})"))["choices"][0]["text"],
            "\"\\\n\t\x01 \xC3\xA4");
}

TEST(Chat, AnswerHasOpenAisShape) {
  TestServer server(Replies("hi there"));
  HttpClient client(server.port());
  const HttpReply reply = client.Post(
      kChat, R"({"messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 50})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  json body = Json(reply);
  EXPECT_EQ(body["id"].get<std::string>().substr(0, 9), "chatcmpl-");
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["choices"],
            json::parse(R"([{"index": 0, "message": {"role": "assistant", "content": "hi there"},
      "logprobs": null, "finish_reason": "stop"}])"));
  EXPECT_EQ(body["usage"]["completion_tokens"], 9);
}

TEST(Chat, GoesThroughTheTemplateAndStopsAtTheEndOfTheTurn) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  client.Post(kChat, R"({"messages": [{"role": "user", "content": "q"}]})");
  const GenerateRequest request = server.generator.requests().at(0);
  const ChatMessage message{"user", "q"};
  EXPECT_EQ(request.prompt, server.chat->Apply({&message, 1}, true).value());
  EXPECT_EQ(request.stop_ids, (std::vector<int32_t>{FakeTokenizer::kEndOfTurn}));
}

TEST(Chat, GivesTheTemplateItsVariables) {
  TestServer server(Replies("x"), {}, /*can_chat=*/true,
                    "{{ a.b }}{% for m in messages %}{{ m.content }}{% endfor %}");
  HttpClient client(server.port());
  const HttpReply reply = client.Post(
      kChat,
      R"({"messages": [{"role": "user", "content": "q"}], "chat_template_kwargs": {"a": {"b": "xy"}}})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(server.generator.requests().at(0).prompt, Ids("xyq"));
}

TEST(Chat, WhatTheTemplateRefusesIs400) {
  TestServer server(Replies("x"), {}, /*can_chat=*/true, "{{ raise_exception('roles must alternate') }}");
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kChat, R"({"messages": [{"role": "user", "content": "q"}]})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(Json(reply)["error"]["message"], "roles must alternate");
  EXPECT_EQ(Json(reply)["error"]["param"], "messages");
}

TEST(Chat, ATemplateThatIsBrokenIs400WithTheReason) {
  TestServer server(Replies("x"), {}, /*can_chat=*/true, "{{ 1 + }}");
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kChat, R"({"messages": [{"role": "user", "content": "q"}]})");
  EXPECT_EQ(reply.status, 400);
  const std::string message = Json(reply)["error"]["message"];
  EXPECT_TRUE(message.starts_with("the model cannot chat: /")) << message;
  EXPECT_TRUE(message.ends_with(
      "/chat_template.jinja: line 1, column 8: expected an expression, found }}; use /v1/completions"))
      << message;
}

TEST(Chat, NGivesSeveralChoices) {
  TestServer server(Replies("hi"));
  HttpClient client(server.port());
  const json body = Json(client.Post(kChat, R"({"messages": [{"role": "user", "content": "a"}], "n": 2})"));
  ASSERT_EQ(body["choices"].size(), 2u);
  EXPECT_EQ(body["choices"][1]["index"], 1);
  EXPECT_EQ(body["choices"][1]["message"]["content"], "hi");
}

TEST(Chat, AnUnknownRoleIs400) {
  TestServer server;
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kChat, R"({"messages": [{"role": "wizard", "content": "q"}]})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(Json(reply)["error"]["param"], "messages");
  EXPECT_NE(reply.body.find("wizard"), std::string::npos);
}

TEST(Chat, AModelWithoutATemplateIs400) {
  TestServer server({}, {}, /*can_chat=*/false);
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kChat, R"({"messages": [{"role": "user", "content": "q"}]})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_NE(reply.body.find("/v1/completions"), std::string::npos);
}

}  // namespace
}  // namespace ternion
