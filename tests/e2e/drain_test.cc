// A server that is asked to end lets running requests finish; asked again, it does not.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <string>

#include "tests/support/demo_server.h"

namespace ternion {
namespace {

using nlohmann::json;
constexpr std::chrono::seconds kEndLimit{60};

std::string HealthCode(uint16_t port) {
  HttpClient client(port);
  return Body(client.Get("/health"))["error"].value("code", "");
}

TEST(DrainTest, AClientBeginsIt) {
  DemoServer server(2, 2, {"--drain-timeout=300"});
  HttpClient client(server.port());
  ASSERT_TRUE(BeginStream(client, CompletionRequest("The", 300)));
  const HttpReply begun = Post(server.port(), "", "/drain");
  EXPECT_EQ(begun.status, 200) << begun.body;
  EXPECT_EQ(HealthCode(server.port()), "draining");
  EXPECT_EQ(Post(server.port(), CompletionRequest("A", 1).dump()).status, 503);
  StreamResult result;
  ReadToEnd(client, result);
  EXPECT_TRUE(result.done);
  EXPECT_EQ(result.completion_tokens, 300);
  EXPECT_EQ(server.process().Wait(kEndLimit), 0) << server.process().Err();
  EXPECT_EQ(server.process().Members(), std::vector<pid_t>());
}

TEST(DrainTest, ASecondSignalDoesNotWait) {
  DemoServer server(2, 2, {"--drain-timeout=300"});
  HttpClient client(server.port());
  ASSERT_TRUE(BeginStream(client, CompletionRequest("The", 2000)));
  ASSERT_EQ(kill(server.Rank(0), SIGTERM), 0);
  ASSERT_TRUE(server.process().WaitForErr("draining", kEndLimit));
  ASSERT_EQ(kill(server.Rank(0), SIGINT), 0);
  StreamResult result;
  ReadToEnd(client, result);
  EXPECT_LT(result.completion_tokens, 2000);
  EXPECT_EQ(server.process().Wait(kEndLimit), 0) << server.process().Err();
  EXPECT_EQ(server.process().Members(), std::vector<pid_t>());
}

}  // namespace
}  // namespace ternion
