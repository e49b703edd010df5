// GET /status and the page at /.
#include <gtest/gtest.h>

#include <string>

#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

JobStatus TwoRanks() {
  JobStatus job;
  job.grid = {1, 2, 0};
  job.wire = "exact";
  job.pipeline_wire = "int8";
  job.kv_cache = "f16";
  job.device = "cpu";
  job.block_tokens = 16;
  job.scheduler.running = 3;
  job.scheduler.waiting = 1;
  job.scheduler.blocks = 100;
  job.scheduler.used_blocks = 25;
  job.prompt_tokens = 70;
  job.generated_tokens = 900;
  job.ranks = {{{"one", "EPYC", 2, 0, 5, 4000, 600, 9000}, true, 0.0},
               {{"two", "H\xff", 0, 5, 3, 3000, 500, 8000}, false, 7.0}};
  return job;
}

TEST(Status, TellsOfTheJobAndItsRanks) {
  TestServer server;
  JobStatusBoard board;
  board.Answer(TwoRanks);
  server.server->Serve({&server.generator, &server.tokenizer, nullptr, "", nullptr, &board});
  const HttpReply reply = HttpClient(server.port()).Get("/status");
  ASSERT_EQ(reply.status, 200);
  const nlohmann::json status = Json(reply);
  EXPECT_EQ(status["model"], "demo");
  EXPECT_EQ(status["version"], "1.2.3");
  EXPECT_EQ(status["ready"], true);
  EXPECT_TRUE(status["reason"].is_null());
  EXPECT_EQ(status["can_chat"], false);
  EXPECT_EQ(status["max_model_len"], server.generator.max_model_len());
  EXPECT_GE(status["uptime_seconds"], 0);
  EXPECT_EQ(status["tp"], 1);
  EXPECT_EQ(status["pp"], 2);
  EXPECT_EQ(status["wire"], "exact");
  EXPECT_EQ(status["pipeline_wire"], "int8");
  EXPECT_EQ(status["kv_cache"], "f16");
  EXPECT_EQ(status["device"], "cpu");
  EXPECT_EQ(status["requests"], (nlohmann::json{{"running", 3}, {"waiting", 1}}));
  EXPECT_EQ(status["kv"], (nlohmann::json{{"blocks", 100}, {"used_blocks", 25}, {"block_tokens", 16}}));
  EXPECT_EQ(status["tokens"], (nlohmann::json{{"prompt", 70}, {"generated", 900}}));
  EXPECT_EQ(status["ranks"][0], (nlohmann::json{{"rank", 0},
                                                {"host", "one"},
                                                {"device", "EPYC"},
                                                {"threads", 2},
                                                {"first_layer", 0},
                                                {"layers", 5},
                                                {"weight_bytes", 4000},
                                                {"kv_bytes", 600},
                                                {"resident_bytes", 9000},
                                                {"up", true},
                                                {"seconds_since_heard", 0.0}}));
  const nlohmann::json& lost = status["ranks"][1];
  EXPECT_EQ(lost["up"], false);
  EXPECT_TRUE(lost["seconds_since_heard"].is_null());
  EXPECT_FALSE(lost.contains("threads"));
  EXPECT_EQ(lost["device"], "H\xEF\xBF\xBD");
  server.server->Stop();  // before the board goes
}

TEST(Status, IsThereWhileTheModelIsLoaded) {
  ServerOptions options;
  options.host = "127.0.0.1";
  options.port = 0;
  options.served_model_name = "demo";
  const auto server = HttpServer::Bind(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const HttpReply reply = HttpClient((*server)->port()).Get("/status");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(Json(reply)["ready"], false);
  EXPECT_NE(Json(reply)["reason"].get<std::string>().find("loaded"), std::string::npos);
  EXPECT_FALSE(Json(reply).contains("ranks"));
}

// The page has to hold when the engine is gone: a status is no error.
TEST(Status, TellsWhyTheServerIsNotReady) {
  TestServer server;
  server.generator.SetReady(absl::UnavailableError("rank 2 on node7 was lost"));
  const HttpReply reply = HttpClient(server.port()).Get("/status");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(Json(reply)["ready"], false);
  EXPECT_EQ(Json(reply)["reason"], "rank 2 on node7 was lost");
  EXPECT_EQ(Json(reply)["can_chat"], true);
}

TEST(Status, NeedsAKeyAndThePageDoesNot) {
  ServerOptions options;
  options.api_keys = {"secret"};
  TestServer server({}, options);
  HttpClient client(server.port());
  EXPECT_EQ(client.Get("/status").status, 401);
  EXPECT_EQ(client.Get("/status", "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(client.Get("/").status, 200);
  EXPECT_EQ(client.Post("/", "{}", "Authorization: Bearer secret\r\n").status, 405);
}

TEST(StatusPage, IsOneDocumentThatLoadsNothing) {
  TestServer server;
  const HttpReply reply = HttpClient(server.port()).Get("/?from=bookmark");
  ASSERT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_EQ(reply.headers.at("x-content-type-options"), "nosniff");
  const std::string& policy = reply.headers.at("content-security-policy");
  for (const char* part : {"default-src 'none';", "style-src 'sha256-", "script-src 'sha256-",
                           "connect-src 'self';", "frame-ancestors 'none'"}) {
    EXPECT_NE(policy.find(part), std::string::npos) << part << " in " << policy;
  }
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  EXPECT_EQ(reply.body.rfind("<!doctype html>", 0), 0u);
  EXPECT_NE(reply.body.find("</html>"), std::string::npos);
  for (const char* part : {"{{style}}", "{{script}}", " src=", "@import", "url(", "style=\"", "onclick="}) {
    EXPECT_EQ(reply.body.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace ternion
