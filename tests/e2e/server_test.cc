// The server on four ranks, as clients see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "kernels/check.h"
#include "tests/support/certificate.h"
#include "tests/support/demo_server.h"
#include "tests/support/http_client.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tls_client.h"

namespace ternion {
namespace {

using nlohmann::json;
using testing::HasSubstr;
constexpr std::chrono::seconds kEndLimit{60};

TEST(ServerTest, AnswersEveryRoute) {
  DemoServer server(2, 2);
  HttpClient client(server.port());
  EXPECT_EQ(client.Get("/health").status, 200);
  EXPECT_EQ(Body(client.Get("/v1/models"))["data"][0]["id"], "demo");
  EXPECT_EQ(client.Get("/no/such/route").status, 404);

  const json completion =
      Body(client.Post("/v1/completions", CompletionRequest("The vector class", 16).dump()));
  EXPECT_EQ(completion["usage"]["completion_tokens"], 16) << completion;
  EXPECT_GT(completion["choices"][0]["text"].get<std::string>().size(), 16u);
  EXPECT_EQ(completion["choices"][0]["finish_reason"], "length");

  const json chat = {{"messages", {{{"role", "user"}, {"content", "What is a mutex?"}}}},
                     {"max_tokens", 16},
                     {"temperature", 0},
                     {"ignore_eos", true}};
  const json reply = Body(client.Post("/v1/chat/completions", chat.dump()));
  EXPECT_EQ(reply["choices"][0]["message"]["role"], "assistant") << reply;
  EXPECT_FALSE(reply["choices"][0]["message"]["content"].get<std::string>().empty());
  EXPECT_EQ(reply["usage"]["completion_tokens"], 16);
}

TEST(ServerTest, GivesTheTextOfGenerate) {
  const json generated =
      RunForJson(1, 1, {"generate", DemoModel(), "--prompt=An iterator", "--max-tokens=24", "--ignore-eos"});
  DemoServer server(2, 2);
  const json completion = Body(Post(server.port(), CompletionRequest("An iterator", 24).dump()));
  EXPECT_EQ(completion["choices"][0]["text"], generated["text"]);
}

TEST(ServerTest, EightAtOnceGetWhatEachGetsAlone) {
  DemoServer server(2, 2);
  const std::vector<json> requests = EightRequests();
  std::vector<StreamResult> alone;
  for (const json& request : requests) {
    alone.push_back(Stream(server.port(), request));
    ASSERT_TRUE(alone.back().done) << request;
    ASSERT_EQ(alone.back().completion_tokens, request["max_tokens"]);
  }
  for (int round = 0; round < 2; ++round) {
    std::vector<StreamResult> together(requests.size());
    std::vector<std::thread> clients;
    for (size_t i = 0; i < requests.size(); ++i) {
      clients.emplace_back([&, i] { together[i] = Stream(server.port(), requests[i]); });
    }
    for (std::thread& client : clients) client.join();
    for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(together[i], alone[i]) << requests[i];
  }
}

// With one place, a stream that nobody reads would keep the others waiting until its end.
TEST(ServerTest, DisconnectedClientFreesItsPlace) {
  DemoServer server(2, 2, {"--max-sequences=1"});
  const json endless = CompletionRequest("The", 800);
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(Stream(server.port(), endless).completion_tokens, 800);
  const auto whole = std::chrono::steady_clock::now() - start;

  const auto cut_start = std::chrono::steady_clock::now();
  for (int i = 0; i < 8; ++i) {
    HttpClient leaver(server.port());
    ASSERT_TRUE(BeginStream(leaver, endless));
    ASSERT_TRUE(leaver.ReadEvent().has_value());
    i % 2 == 0 ? leaver.Close() : leaver.Reset();
    ASSERT_EQ(Post(server.port(), CompletionRequest("A", 1).dump()).status, 200);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - cut_start, 4 * whole);
}

struct BadRequest {
  std::string name;
  std::string target;
  std::string body;
  std::string mentions;
  json param = nullptr;
};

TEST(ServerTest, BadRequestsNameTheParameter) {
  DemoServer server(2, 2);
  const std::string completions = "/v1/completions";
  const std::string chat = "/v1/chat/completions";
  const std::vector<BadRequest> requests = {
      {"broken JSON", completions, R"({"model":"demo",)", "JSON"},
      {"no object", completions, "[1]", "object"},
      {"no prompt", completions, R"({"model":"demo"})", "prompt", "prompt"},
      {"word for a number", completions, R"({"prompt":"a","max_tokens":"ten"})", "max_tokens", "max_tokens"},
      {"number for a text", completions, R"({"prompt":17})", "prompt", "prompt"},
      {"below the range", completions, R"({"prompt":"a","temperature":-1})", "temperature", "temperature"},
      {"id outside the vocabulary", completions, R"({"prompt":[5000]})", "5000", "prompt"},
      {"over the context", completions, json{{"prompt", std::vector<int>(3000, 5)}}.dump(), "2048", "prompt"},
      {"text for messages", chat, R"({"messages":"hello"})", "messages", "messages"},
      {"unknown role", chat, R"({"messages":[{"role":"judge","content":"a"}]})", "judge", "messages"},
      {"invalid UTF-8", completions, "{\"prompt\":\"a\xff\"}", "UTF-8"},
      {"half a surrogate pair", completions, R"({"prompt":"\ud800"})", ""},
  };
  for (const BadRequest& bad : requests) {
    const HttpReply reply = Post(server.port(), bad.body, bad.target);
    EXPECT_EQ(reply.status, 400) << bad.name << ": " << reply.body;
    const json error = Body(reply).value("error", json::object());
    EXPECT_THAT(error.value("message", ""), HasSubstr(bad.mentions)) << bad.name;
    EXPECT_EQ(error.value("type", ""), "invalid_request_error") << bad.name;
    EXPECT_EQ(error.value("param", json()), bad.param) << bad.name << ": " << reply.body;
  }
  EXPECT_EQ(Post(server.port(), R"({"model":"another","prompt":"a"})").status, 404);
  EXPECT_EQ(Post(server.port(), CompletionRequest("A", 1).dump()).status, 200) << "the server goes on";
}

TEST(ServerTest, HangupReadsTheCertificateAgain) {
  const TempFolder folder;
  const Certificate first(folder.path(), "first");
  const Certificate second(folder.path(), "second");
  DemoServer server(2, 1, {"--tls-cert=" + first.cert, "--tls-key=" + first.key});
  EXPECT_EQ(TlsClient(server.port()).subject(), "first");
  std::filesystem::copy_file(second.cert, first.cert, std::filesystem::copy_options::overwrite_existing);
  ASSERT_EQ(kill(server.Rank(0), SIGHUP), 0);
  EXPECT_TRUE(
      server.process().WaitForErr("SIGHUP: nothing was changed: the TLS key " + first.key, kEndLimit));
  EXPECT_EQ(TlsClient(server.port()).subject(), "first");
  std::filesystem::copy_file(second.key, first.key, std::filesystem::copy_options::overwrite_existing);
  ASSERT_EQ(kill(server.Rank(0), SIGHUP), 0);
  EXPECT_TRUE(server.process().WaitForErr("was read again", kEndLimit));
  EXPECT_EQ(TlsClient(server.port()).subject(), "second");
  ASSERT_EQ(kill(server.Rank(0), SIGTERM), 0);
  EXPECT_EQ(server.process().Wait(kEndLimit), 0) << server.process().Err();
}

// User and system time of all threads, in clock ticks (proc(5), fields 14 and 15).
int64_t CpuTicks(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string line(std::istreambuf_iterator<char>(file), {});
  std::istringstream fields(line.substr(line.rfind(')') + 2));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  int64_t user = -1;
  int64_t system = -1;
  CHECK(static_cast<bool>(fields >> user >> system), "/proc/PID/stat");
  return user + system;
}

TEST(ServerTest, IdleRanksSleep) {
  DemoServer server(2, 2);
  ASSERT_EQ(Post(server.port(), CompletionRequest("A", 8).dump()).status, 200);
  const auto ticks = [&] {
    int64_t sum = 0;
    for (int rank = 0; rank < 4; ++rank) sum += CpuTicks(server.Rank(rank));
    return sum;
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the last step's end
  const int64_t before = ticks();
  constexpr int kSeconds = 4;
  std::this_thread::sleep_for(std::chrono::seconds(kSeconds));
  const double share =
      static_cast<double>(ticks() - before) / static_cast<double>(kSeconds * sysconf(_SC_CLK_TCK));
  EXPECT_LT(share, 0.02) << "of one core, by all four ranks";
}

void ExpectDrain(int signal, pid_t (*target)(DemoServer&)) {
  DemoServer server(2, 2, {"--drain-timeout=300"});
  const json request = CompletionRequest("The", 120);
  const StreamResult whole = Stream(server.port(), request);
  ASSERT_EQ(whole.completion_tokens, 120);

  HttpClient client(server.port());
  ASSERT_TRUE(BeginStream(client, request));
  StreamResult result;
  for (int i = 0; i < 3; ++i) TakeEvent(client.ReadEvent().value_or(""), result);
  ASSERT_EQ(kill(target(server), signal), 0);
  ReadToEnd(client, result);
  EXPECT_EQ(result, whole);
  EXPECT_EQ(server.process().Wait(kEndLimit), 0) << server.process().Err();
  EXPECT_EQ(server.process().Members(), std::vector<pid_t>());
}

TEST(ServerTest, TermToRankZeroDrains) {
  ExpectDrain(SIGTERM, [](DemoServer& server) { return server.Rank(0); });
}

TEST(ServerTest, Usr1ToMpirunDrains) {
  ExpectDrain(SIGUSR1, [](DemoServer& server) { return server.process().pid(); });
}

}  // namespace
}  // namespace ternion
