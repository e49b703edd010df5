#include "net/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "net/http_error.h"
#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

using std::chrono::milliseconds;

ServerOptions LocalOptions(uint16_t port = 0, const std::string& host = "127.0.0.1") {
  ServerOptions options;
  options.host = host;
  options.port = port;
  options.served_model_name = "demo";
  return options;
}

TEST(HttpServer, TellsWhichPortIsTaken) {
  const auto first = HttpServer::Bind(LocalOptions());
  ASSERT_TRUE(first.ok()) << first.status();
  const uint16_t port = (*first)->port();
  ASSERT_NE(port, 0);
  const auto second = HttpServer::Bind(LocalOptions(port));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(second.status().message().find(absl::StrCat("127.0.0.1:", port)), absl::string_view::npos)
      << second.status();
}

TEST(HttpServer, TellsWhichHostItCannotBe) {
  EXPECT_EQ(HttpServer::Bind(LocalOptions(0, "192.0.2.1")).status().code(),
            absl::StatusCode::kFailedPrecondition);
  const auto named = HttpServer::Bind(LocalOptions(0, "no such host"));
  EXPECT_EQ(named.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(named.status().message().find("no such host"), absl::string_view::npos);
}

TEST(HttpServer, ListensOnNamesAndOnBothFamilies) {
  const auto named = HttpServer::Bind(LocalOptions(0, "localhost"));
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(HttpClient((*named)->port()).Get("/version").status, 200);
  const auto six = HttpServer::Bind(LocalOptions(0, "::"));
  if (!six.ok()) GTEST_SKIP() << "no IPv6 here: " << six.status();
  EXPECT_EQ(HttpClient((*six)->port(), "::1").Get("/version").status, 200);
  EXPECT_EQ(HttpClient((*six)->port(), "127.0.0.1").Get("/version").status, 200);
}

TEST(HttpServer, Says503WhileTheModelIsLoaded) {
  const auto server = HttpServer::Bind(LocalOptions());
  ASSERT_TRUE(server.ok()) << server.status();
  HttpClient client((*server)->port());
  for (const HttpReply& reply :
       {client.Get("/health"), client.Get("/v1/models"), client.Post(kCompletions, R"({"prompt": "a"})")}) {
    EXPECT_EQ(reply.status, 503);
    EXPECT_NE(Json(reply)["error"]["message"].get<std::string>().find("loaded"), std::string::npos);
  }
  FakeGenerator generator(Replies("x"));
  const FakeTokenizer tokenizer;
  (*server)->Serve({&generator, &tokenizer, nullptr});
  EXPECT_EQ(client.Get("/health").status, 200);
  EXPECT_EQ(client.Post(kCompletions, R"({"prompt": "a"})").status, 200);
  (*server)->Stop();
}

TEST(HttpServer, HealthTellsWhyTheEngineIsNotReady) {
  TestServer server;
  server.generator.SetReady(absl::UnavailableError("rank 2 was lost"));
  HttpClient client(server.port());
  const HttpReply reply = client.Get("/health");
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(Json(reply)["error"]["message"], "rank 2 was lost");
}

TEST(HttpServer, ALostRankSaysMoreThanADrain) {
  TestServer server;
  EXPECT_TRUE(server.server->Drain(milliseconds(0)).ok());
  HttpClient client(server.port());
  EXPECT_EQ(Json(client.Get("/health"))["error"]["code"], "draining");
  server.generator.SetReady(WithErrorCode(absl::UnavailableError("rank 2 was lost"), "rank_lost"));
  HttpClient other(server.port());
  const HttpReply health = other.Get("/health");
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(Json(health)["error"]["message"], "rank 2 was lost");
  EXPECT_EQ(Json(health)["error"]["code"], "rank_lost");
  HttpClient late(server.port());
  const HttpReply refused = late.Post(kCompletions, R"({"prompt": "a"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(Json(refused)["error"]["code"], "rank_lost");
}

void CountDrains(TestServer& server, std::atomic<int>& drains) {
  ModelService service{&server.generator, &server.tokenizer, nullptr, ""};
  service.drain = [&drains] { ++drains; };
  server.server->Serve(service);
}

TEST(HttpServer, AClientWithAKeyBeginsADrain) {
  ServerOptions options;
  options.api_keys = {"secret"};
  std::atomic<int> drains{0};
  TestServer server({}, options);
  CountDrains(server, drains);
  HttpClient client(server.port());
  EXPECT_EQ(client.Post("/drain", "").status, 401);
  EXPECT_EQ(drains, 0);
  EXPECT_EQ(client.Get("/drain", "Authorization: Bearer secret\r\n").status, 405);
  EXPECT_EQ(client.Post("/drain", "", "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(drains, 1);
}

TEST(HttpServer, APageOfAnotherOriginCannotDrain) {
  ServerOptions options;
  options.cors_origins = {"https://ours.example"};
  std::atomic<int> drains{0};
  TestServer server({}, options);
  CountDrains(server, drains);
  HttpClient client(server.port());
  EXPECT_EQ(client.Post("/drain", "", "Origin: https://other.example\r\n").status, 403);
  EXPECT_EQ(drains, 0);
  EXPECT_EQ(client.Post("/drain", "", "Origin: https://ours.example\r\n").status, 200);
  EXPECT_EQ(drains, 1);
}

TEST(HttpServer, ADrainLetsRunningRequestsFinishAndRefusesNewOnes) {
  TestServer server(Replies("all of it"));
  server.generator.Hold();
  HttpClient running(server.port());
  running.Send(PostRequest(kCompletions, R"({"prompt": "a"})"));
  ASSERT_TRUE(server.generator.WaitForRequests(1));
  EXPECT_EQ(server.server->Drain(milliseconds(20)).code(), absl::StatusCode::kDeadlineExceeded);
  HttpClient other(server.port());
  EXPECT_EQ(other.Get("/health").status, 503);
  HttpClient late(server.port());
  const HttpReply refused = late.Post(kCompletions, R"({"prompt": "a"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("connection"), "close");
  server.generator.Release();
  EXPECT_TRUE(server.server->Drain(milliseconds(10000)).ok());
  EXPECT_EQ(Json(running.Read())["choices"][0]["text"], "all of it");
}

TEST(HttpServer, AStopCancelsWhatRunsAndEndsEveryConnection) {
  TestServer server;
  server.generator.Hold();
  HttpClient idle(server.port());
  EXPECT_EQ(idle.Get("/version").status, 200);
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (const bool stream : {true, false}) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->Send(
        PostRequest(kCompletions, stream ? R"({"prompt": "a", "stream": true})" : R"({"prompt": "a"})"));
  }
  ASSERT_TRUE(server.generator.WaitForRequests(2));
  server.server->Stop();
  EXPECT_EQ(server.generator.cancelled(), 2u);
  EXPECT_EQ(idle.Read().status, 0);
  for (const auto& client : clients) EXPECT_EQ(client->Read().status, 0);
}

TEST(HttpServer, StopsUnderLoad) {
  FakeGenerator::Behaviour behaviour;
  behaviour.max_model_len = 1000000;
  TestServer server(behaviour);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      HttpClient client(server.port());
      client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
      client.ReadHead();
      ReadEvents(client);
    });
  }
  ASSERT_TRUE(server.generator.WaitForRequests(4));
  server.server->Stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server.generator.cancelled(), 4u);
}

TEST(HttpServer, TurnsAwayConnectionsAboveTheCap) {
  ServerOptions options;
  options.max_connections = 2;
  TestServer server({}, options);
  HttpClient first(server.port());
  HttpClient second(server.port());
  EXPECT_EQ(first.Get("/health").status, 200);
  EXPECT_EQ(second.Get("/health").status, 200);
  HttpClient third(server.port());
  EXPECT_EQ(third.Read().status, 503);
  EXPECT_TRUE(third.ReadsEnd());
  EXPECT_EQ(first.Get("/health").status, 200);
}

}  // namespace
}  // namespace ternion
