#include "net/tokenization.h"

#include <gtest/gtest.h>

#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

using nlohmann::json;

TEST(Tokenize, GivesTheIdsOfAPrompt) {
  TestServer server;
  HttpClient client(server.port());
  const HttpReply reply = client.Post("/tokenize", R"({"model": "demo", "prompt": "abc"})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.at("content-type"), "application/json");
  EXPECT_EQ(Json(reply), json::parse(R"({"count": 4, "max_model_len": 4096, "tokens": [256, 97, 98, 99]})"));
  const json bare = Json(client.Post("/tokenize", R"({"prompt": "abc", "add_special_tokens": false})"));
  EXPECT_EQ(bare["tokens"], json::parse("[97, 98, 99]"));
  EXPECT_EQ(bare["count"], 3);
}

// How many there are is what callers want to know before they ask for a completion.
TEST(Tokenize, TakesMoreThanTheContextHolds) {
  FakeGenerator::Behaviour behaviour;
  behaviour.max_model_len = 8;
  TestServer server(behaviour);
  HttpClient client(server.port());
  const json reply = Json(client.Post("/tokenize", R"({"prompt": "1234567890"})"));
  EXPECT_EQ(reply["count"], 11);
  EXPECT_EQ(reply["max_model_len"], 8);
}

TEST(Tokenize, GivesTheIdsOfMessages) {
  TestServer server;
  HttpClient client(server.port());
  const ChatMessage message{"user", "q"};
  for (const bool open : {true, false}) {
    const json request = {{"messages", {{{"role", "user"}, {"content", "q"}}}},
                          {"add_generation_prompt", open}};
    const json reply = Json(client.Post("/tokenize", request.dump()));
    EXPECT_EQ(reply["tokens"].get<std::vector<int32_t>>(), server.chat->Apply({&message, 1}, open).value());
  }
}

TEST(Tokenize, GivesTheTemplateItsVariables) {
  TestServer server({}, {}, /*can_chat=*/true, "{{ mood }}{{ messages[0].content }}");
  HttpClient client(server.port());
  const json reply = Json(client.Post(
      "/tokenize",
      R"({"messages": [{"role": "user", "content": "q"}], "chat_template_kwargs": {"mood": "xy"}})"));
  EXPECT_EQ(reply["tokens"].get<std::vector<int32_t>>(), Ids("xyq"));
}

TEST(Detokenize, GivesTheText) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(Json(client.Post("/detokenize", R"({"model": "demo", "tokens": [256, 97, 195, 164, 34, 255]})")),
            json::parse(R"({"prompt": "<|begin_of_text|>aä\"\ufffd"})"));
  EXPECT_EQ(Json(client.Post("/detokenize", R"({"tokens": []})")), json::parse(R"({"prompt": ""})"));
}

TEST(Detokenize, RefusesTokensOfTooMuchText) {
  ServerOptions options;
  options.max_body_bytes = 100;
  TestServer server({}, options);
  HttpClient client(server.port());
  EXPECT_EQ(client.Post("/detokenize", R"({"tokens":[256,256,256,256,256]})").status, 200);
  const HttpReply reply = client.Post("/detokenize", R"({"tokens":[256,256,256,256,256,256]})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(Json(reply)["error"]["message"], "tokens: stand for 102 bytes of text; an answer may hold 100");
}

struct Refused {
  const char* target;
  const char* body;
  int status;
  const char* param;
};

TEST(Tokenization, RefusesByTheParametersName) {
  TestServer server;
  HttpClient client(server.port());
  const Refused cases[] = {
      {"/tokenize", "{}", 400, "prompt"},
      {"/tokenize", R"({"prompt": 7})", 400, "prompt"},
      {"/tokenize", R"({"prompt": ["a"]})", 400, "prompt"},
      {"/tokenize", R"({"prompt": "a", "messages": []})", 400, "messages"},
      {"/tokenize", R"({"prompt": "a", "add_special_tokens": 1})", 400, "add_special_tokens"},
      {"/tokenize", R"({"prompt": "a", "return_token_strs": true})", 400, "return_token_strs"},
      {"/tokenize", R"({"prompt": "a", "model": "other"})", 404, "model"},
      {"/tokenize", R"({"messages": "a"})", 400, "messages"},
      {"/tokenize", R"({"messages": [{"role": "judge", "content": "a"}]})", 400, "messages"},
      {"/tokenize", R"({"messages": [{"role": "user", "content": "a"}], "add_special_tokens": true})", 400,
       "add_special_tokens"},
      {"/tokenize", R"({"messages": [{"role": "user", "content": "a"}], "continue_final_message": true})",
       400, "continue_final_message"},
      {"/detokenize", "{}", 400, "tokens"},
      {"/detokenize", R"({"tokens": "a"})", 400, "tokens"},
      {"/detokenize", R"({"tokens": [-1]})", 400, "tokens"},
      {"/detokenize", R"({"tokens": [260]})", 400, "tokens"},
      {"/detokenize", R"({"tokens": [1], "model": "other"})", 404, "model"},
  };
  for (const Refused& c : cases) {
    const HttpReply reply = client.Post(c.target, c.body);
    EXPECT_EQ(reply.status, c.status) << c.target << c.body;
    EXPECT_EQ(Json(reply)["error"]["param"], c.param) << c.target << c.body << reply.body;
  }
  for (const char* target : {"/tokenize", "/detokenize"}) {
    EXPECT_EQ(client.Post(target, "{").status, 400);
    EXPECT_EQ(client.Post(target, "[]").status, 400);
    EXPECT_EQ(client.Get(target).status, 405);
  }
}

TEST(Tokenization, NeedsAKeyAndAModel) {
  ServerOptions options;
  options.api_keys = {"key"};
  TestServer server({}, options);
  EXPECT_EQ(HttpClient(server.port()).Post("/tokenize", R"({"prompt": "a"})").status, 401);
  EXPECT_EQ(HttpClient(server.port()).Post("/detokenize", R"({"tokens": [1]})").status, 401);
  options = {};
  options.host = "127.0.0.1";
  options.port = 0;
  const auto loading = HttpServer::Bind(options);
  ASSERT_TRUE(loading.ok()) << loading.status();
  EXPECT_EQ(HttpClient((*loading)->port()).Post("/tokenize", R"({"prompt": "a"})").status, 503);
}

TEST(Tokenization, AModelWithoutATemplateSaysSo) {
  TestServer server({}, {}, /*can_chat=*/false);
  HttpClient client(server.port());
  const HttpReply reply = client.Post("/tokenize", R"({"messages": [{"role": "user", "content": "q"}]})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_NE(reply.body.find("the model cannot chat"), std::string::npos);
}

}  // namespace
}  // namespace ternion
