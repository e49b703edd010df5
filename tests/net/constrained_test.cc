#include <gtest/gtest.h>

#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

using nlohmann::json;

// Whether the engine was asked for texts of which this is one.
bool Allows(const GenerateRequest& request, std::string_view text) {
  if (request.constraint == nullptr) return false;
  Constraint::Text made(request.constraint);
  for (const char c : text) {
    if (!made.Add(static_cast<uint8_t>(c)).ok()) return false;
  }
  return made.complete();
}

TEST(ConstrainedCompletions, GoToTheEngineAsAsked) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  client.Post(
      kChat,
      R"({"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_object"}})");
  client.Post(
      kChat,
      R"({"messages": [{"role": "user", "content": "a"}], "n": 2, "response_format": {"type": "json_schema",
      "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"z": {"type": "null"}, "a": {"type": "null"}},
      "required": ["z", "a"], "additionalProperties": false}, "strict": true}}})");
  client.Post(kCompletions, R"({"prompt": "a", "guided_json": "{\"type\": \"integer\"}"})");
  client.Post(kCompletions, R"({"prompt": "a", "guided_choice": ["yes", "no"]})");
  client.Post(kCompletions, R"({"prompt": "a", "response_format": {"type": "text"}})");
  const std::vector<GenerateRequest> requests = server.generator.requests();
  ASSERT_EQ(requests.size(), 6u);
  EXPECT_TRUE(Allows(requests[0], R"({"a": 1})"));
  EXPECT_FALSE(Allows(requests[0], "1"));
  EXPECT_TRUE(Allows(requests[1], R"({"z":null,"a":null})"));
  EXPECT_FALSE(Allows(requests[1], R"({"a":null,"z":null})"));
  EXPECT_EQ(requests[1].constraint, requests[2].constraint);
  EXPECT_TRUE(Allows(requests[3], "12"));
  EXPECT_TRUE(Allows(requests[4], "no"));
  EXPECT_FALSE(Allows(requests[4], "maybe"));
  EXPECT_EQ(requests[5].constraint, nullptr);
}

TEST(ConstrainedCompletions, ShareWhatTheyHaveInCommon) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  for (int i = 0; i < 2; ++i)
    client.Post(kCompletions, R"({"prompt": "a", "guided_json": {"type": "null"}})");
  const std::vector<GenerateRequest> requests = server.generator.requests();
  EXPECT_EQ(requests.at(0).constraint, requests.at(1).constraint);
}

TEST(ConstrainedCompletions, RefuseByThePathOfTheKeyword) {
  TestServer server;
  HttpClient client(server.port());
  const auto refused = [&](const std::string& fields) {
    const HttpReply reply = client.Post(kCompletions, R"({"prompt": "a", )" + fields + "}");
    EXPECT_EQ(reply.status, 400) << reply.body;
    return Json(reply)["error"]["param"].get<std::string>();
  };
  EXPECT_EQ(refused(R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema":
                {"properties": {"a": {"patternProperties": {}}}}}})"),
            "response_format.json_schema.schema.properties.a.patternProperties");
  EXPECT_EQ(refused(R"("guided_json": {"type": 5})"), "guided_json.type");
  EXPECT_EQ(refused(R"("guided_json": 5)"), "guided_json");
  EXPECT_EQ(refused(R"("guided_json": {"title": ")" + std::string(200'000, 'x') + "\"}"), "guided_json");
  EXPECT_TRUE(server.generator.requests().empty());
}

// Nothing is generated for an echo alone.
TEST(ConstrainedCompletions, DoNotConcernAnEchoAlone) {
  TestServer server;
  HttpClient client(server.port());
  const HttpReply reply = client.Post(
      kCompletions,
      R"({"prompt": "abc", "echo": true, "max_tokens": 0, "response_format": {"type": "json_object"}})");
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(Json(reply)["choices"][0]["text"], "abc");
}

}  // namespace
}  // namespace ternion
