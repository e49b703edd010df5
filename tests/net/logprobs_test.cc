// Log-probabilities in answers: OpenAI's shapes, and that every token goes with its text.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "net/logprobs_json.h"
#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

using nlohmann::json;

// Of the token itself, by the fake engine.
double Logprob(int32_t id) { return static_cast<double>(FakeLogprobs(id, 0).logprob); }

json Ask(TestServer& server, const std::string& body, std::string_view target = kCompletions) {
  HttpClient client(server.port());
  return Json(client.Post(target, body));
}

// The tokens of all chunks of a completion's stream, which come with a piece of its text each; and that text.
struct Streamed {
  json logprobs = {{"tokens", json::array()},
                   {"token_logprobs", json::array()},
                   {"top_logprobs", json::array()},
                   {"text_offset", json::array()}};
  std::string text;
};
Streamed Stream(TestServer& server, const std::string& body) {
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions, body));
  client.ReadHead();
  Streamed streamed;
  for (const std::string& event : ReadEvents(client)) {
    const json chunk = json::parse(event, nullptr, false);
    if (!chunk.is_object()) continue;
    const json& choice = chunk["choices"][0];
    streamed.text += choice["text"].get<std::string>();
    if (choice["logprobs"].is_null()) continue;
    for (auto& [name, list] : streamed.logprobs.items()) {
      for (const json& entry : choice["logprobs"][name]) list.push_back(entry);
    }
  }
  return streamed;
}

TEST(CompletionLogprobs, HaveOpenAisShape) {
  TestServer server(Replies("ab"));
  const json choice = Ask(server, R"({"prompt": "q", "logprobs": 2})")["choices"][0];
  EXPECT_EQ(choice["text"], "ab");
  EXPECT_EQ(choice["logprobs"]["tokens"], json({"a", "b", "<|eot_id|>"}));
  EXPECT_EQ(choice["logprobs"]["token_logprobs"],
            json({Logprob('a'), Logprob('b'), Logprob(FakeTokenizer::kEndOfTurn)}));
  EXPECT_EQ(choice["logprobs"]["text_offset"], json({0, 1, 2}));
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][0], json({{"a", Logprob('a')}, {"b", Logprob('a') - 1}}));
  EXPECT_EQ(choice["logprobs"]["top_logprobs"].size(), 3u);
}

TEST(CompletionLogprobs, OfNoLikeliestTellTheTokenAlone) {
  TestServer server(Replies("a"));
  const json choice = Ask(server, R"({"prompt": "q", "logprobs": 0})")["choices"][0];
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][0], json({{"a", Logprob('a')}}));
  EXPECT_TRUE(Ask(server, R"({"prompt": "q"})")["choices"][0]["logprobs"].is_null());
}

TEST(CompletionLogprobs, WithEchoTellOfThePromptToo) {
  TestServer server(Replies("z"));
  const json choice = Ask(server, R"({"prompt": "hi", "logprobs": 1, "echo": true})")["choices"][0];
  EXPECT_EQ(choice["text"], "hiz");
  EXPECT_EQ(choice["logprobs"]["tokens"], json({"<|begin_of_text|>", "h", "i", "z", "<|eot_id|>"}));
  EXPECT_EQ(choice["logprobs"]["token_logprobs"],
            json({nullptr, Logprob('h'), Logprob('i'), Logprob('z'), Logprob(FakeTokenizer::kEndOfTurn)}));
  EXPECT_EQ(choice["logprobs"]["text_offset"], json({0, 0, 1, 2, 3}));
  EXPECT_TRUE(choice["logprobs"]["top_logprobs"][0].is_null());
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][1], json({{"h", Logprob('h')}}));
}

// What evaluations of likelihoods ask.
TEST(CompletionLogprobs, OfAPromptAlone) {
  TestServer server(Replies("z"));
  const json body =
      Ask(server, R"({"prompt": [[104, 105], [106]], "logprobs": 1, "echo": true, "max_tokens": 0})");
  const json choice = body["choices"][0];
  EXPECT_EQ(choice["text"], "hi");
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(choice["logprobs"]["tokens"], json({"h", "i"}));
  EXPECT_EQ(choice["logprobs"]["token_logprobs"], json({nullptr, Logprob('i')}));
  EXPECT_EQ(body["choices"][1]["logprobs"]["token_logprobs"], json({nullptr}));
  EXPECT_EQ(body["usage"]["completion_tokens"], 0);
  EXPECT_EQ(body["usage"]["prompt_tokens"], 3);
}

TEST(CompletionLogprobs, OfTokensThatAreNoCharactersSpellTheirBytes) {
  TestServer server(
      Replies("a\xC3\xA4\xFF"
              "b"));
  const json logprobs = Ask(server, R"({"prompt": "q", "logprobs": 0})")["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], json({"a", "bytes:\\xc3", "bytes:\\xa4", "bytes:\\xff", "b", "<|eot_id|>"}));
  EXPECT_EQ(logprobs["text_offset"], json({0, 1, 1, 2, 3, 4}));
}

// A token whose text a stop string takes away is not told of.
TEST(CompletionLogprobs, EndWhereTheTextEnds) {
  TestServer server(Replies("one STOP two"));
  const json choice = Ask(server, R"({"prompt": "q", "logprobs": 0, "stop": " STOP"})")["choices"][0];
  EXPECT_EQ(choice["text"], "one");
  EXPECT_EQ(choice["logprobs"]["tokens"], json({"o", "n", "e"}));
}

// Streams tell the same in pieces, each token with the piece of text that it begins in.
TEST(CompletionLogprobs, AreTheSameInStreams) {
  TestServer server(Replies("x ST\xC3\xA4 one STOP two"));
  for (const std::string fields : {R"("logprobs": 1)", R"("logprobs": 2, "stop": " STOP")",
                                   R"("logprobs": 0, "echo": true, "stop": ["zz", " STOP"])",
                                   R"("logprobs": 1, "echo": true, "max_tokens": 0)"}) {
    const json whole = Ask(server, R"({"prompt": "hey", )" + fields + "}")["choices"][0];
    const Streamed streamed = Stream(server, R"({"prompt": "hey", "stream": true, )" + fields + "}");
    EXPECT_EQ(streamed.text, whole["text"]) << fields;
    EXPECT_EQ(streamed.logprobs, whole["logprobs"]) << fields;
  }
}

// JSON has no infinity.
TEST(CompletionLogprobs, OfAnImpossibleTokenAreANumber) {
  const float never = -std::numeric_limits<float>::infinity();
  const std::vector<ToldToken> tokens = {{"a", 0, never, {{"b", -0.25f}}}};
  EXPECT_EQ(json::parse(CompletionLogprobsJson(tokens))["top_logprobs"],
            json({{{"a", -9999}, {"b", -0.25}}}));
  EXPECT_EQ(json::parse(ChatLogprobsJson(tokens))["content"][0]["logprob"], -9999);
}

TEST(ChatLogprobs, HaveOpenAisShape) {
  TestServer server(Replies("a\xC3\xA4"));
  const json choice = Ask(server, R"({"messages": [{"role": "user", "content": "q"}], "logprobs": true,
      "top_logprobs": 2})",
                          kChat)["choices"][0];
  const json content = choice["logprobs"]["content"];
  ASSERT_EQ(content.size(), 4u);
  EXPECT_EQ(content[0], json({{"token", "a"},
                              {"logprob", Logprob('a')},
                              {"bytes", {97}},
                              {"top_logprobs",
                               {{{"token", "a"}, {"logprob", Logprob('a')}, {"bytes", {97}}},
                                {{"token", "b"}, {"logprob", Logprob('a') - 1}, {"bytes", {98}}}}}}));
  EXPECT_EQ(content[1]["token"], "\\xc3");
  EXPECT_EQ(content[1]["bytes"], json({0xC3}));
  EXPECT_EQ(content[3]["token"], "<|eot_id|>");
  EXPECT_TRUE(choice["logprobs"]["refusal"].is_null());
}

TEST(ChatLogprobs, ComeWithTheirTextInStreams) {
  TestServer server(Replies("h\xC3\xA4!"));
  HttpClient client(server.port());
  client.Send(PostRequest(
      kChat, R"({"messages": [{"role": "user", "content": "q"}], "logprobs": true, "stream": true})"));
  client.ReadHead();
  const std::vector<std::string> events = ReadEvents(client);
  EXPECT_EQ(StreamText(events), "h\u00e4!");
  std::vector<std::string> tokens;
  for (const std::string& event : events) {
    const json chunk = json::parse(event, nullptr, false);
    if (!chunk.is_object() || chunk["choices"][0]["logprobs"].is_null()) continue;
    for (const json& token : chunk["choices"][0]["logprobs"]["content"]) tokens.push_back(token["token"]);
  }
  EXPECT_EQ(tokens, (std::vector<std::string>{"h", "\\xc3", "\\xa4", "!", "<|eot_id|>"}));
}

}  // namespace
}  // namespace ternion
