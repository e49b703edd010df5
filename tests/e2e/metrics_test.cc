// GET /metrics of a server that works.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/demo_server.h"
#include "tests/support/prometheus_text.h"

namespace ternion {
namespace {

Samples Scrape(const DemoServer& server, const std::string& headers = "") {
  HttpClient client(server.port());
  const HttpReply reply = client.Get("/metrics", headers);
  EXPECT_EQ(reply.status, 200) << reply.body;
  return ParsePrometheus(reply.body);
}

double Model(const Samples& samples, const std::string& name) {
  return ValueOf(samples, name + "{model_name=\"demo\"}");
}

TEST(MetricsTest, CountsWhatAServerOfFourRanksDoes) {
  DemoServer server(2, 2);
  const Samples before = Scrape(server);
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back(
        [&, i] { Stream(server.port(), CompletionRequest("The std::vector class", 40 + i)); });
  }
  double running = 0;
  for (int i = 0; i < 100 && running < 4; ++i) {  // while it is loaded
    const Samples now = Scrape(server);
    ExpectConsistentHistograms(now);
    running = std::max(running, Model(now, "vllm:num_requests_running"));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_GE(running, 1);
  for (std::thread& client : clients) client.join();
  std::this_thread::sleep_for(
      std::chrono::milliseconds(2500));  // what other ranks have sent comes once a second

  const Samples after = Scrape(server);
  ExpectConsistentHistograms(after);
  EXPECT_EQ(Model(before, "vllm:generation_tokens_total"), 0);
  EXPECT_EQ(Model(after, "vllm:generation_tokens_total"), 40 + 41 + 42 + 43);
  EXPECT_EQ(Model(after, "vllm:request_generation_tokens_sum"), 40 + 41 + 42 + 43);
  EXPECT_GT(Model(after, "vllm:prompt_tokens_total"), 4);
  EXPECT_EQ(Model(after, "vllm:time_to_first_token_seconds_count"), 4);
  EXPECT_EQ(Model(after, "vllm:inter_token_latency_seconds_count"), 40 + 41 + 42 + 43 - 4);
  EXPECT_EQ(ValueOf(after, "vllm:request_success_total{finished_reason=\"length\",model_name=\"demo\"}"), 4);
  EXPECT_EQ(Model(after, "vllm:num_requests_running"), 0);
  EXPECT_EQ(Model(after, "vllm:kv_cache_usage_perc"), 0);
  const double steps = Model(after, "vllm:iteration_tokens_total_count");
  EXPECT_GT(steps, 40);
  EXPECT_EQ(ValueOf(after, "ternion:step_seconds_count{phase=\"coordinator\"}"), steps);
  for (const char* rank : {"0", "1", "2", "3"}) {
    const std::string label = std::string("{rank=\"") + rank + "\"}";
    EXPECT_EQ(ValueOf(after, "ternion:rank_up" + label), 1);
    EXPECT_LT(ValueOf(after, "ternion:rank_last_heartbeat_seconds" + label), 5);
  }
  for (const char* kind : {"reduce", "gather", "pipeline"}) {
    const std::string name = std::string("ternion:wire_bytes_total{kind=\"") + kind + "\",link=\"";
    EXPECT_GT(ValueOf(after, name + "host\"}"), 0) << kind;
    EXPECT_EQ(ValueOf(after, name + "network\"}"), 0) << kind;
  }
  const double skipped = ValueOf(after, "ternion:weights_skipped_ratio");
  EXPECT_GT(skipped, 0.3) << "of an a4.8 model";
  EXPECT_LT(skipped, 1);
  bool told = false;
  for (const auto& [name, value] : after) told |= name.compare(0, 13, "ternion:info{") == 0 && value == 1;
  EXPECT_TRUE(told);
}

TEST(StatusTest, TellsWhatFourRanksAreMadeOf) {
  const DemoServer server(2, 2);
  EXPECT_EQ(Post(server.port(), CompletionRequest("A mutex", 7).dump()).status, 200);
  HttpClient client(server.port());
  const nlohmann::json status = Body(client.Get("/status"));
  ASSERT_TRUE(status.is_object() && status.contains("ranks")) << status;
  EXPECT_EQ(status["ready"], true);
  EXPECT_EQ(status["tp"], 2);
  EXPECT_EQ(status["pp"], 2);
  EXPECT_EQ(status["tokens"]["generated"], 7);
  EXPECT_GT(status["kv"]["blocks"], 0);
  ASSERT_EQ(status["ranks"].size(), 4u);
  const nlohmann::json &first = status["ranks"][0], &last = status["ranks"][3];
  EXPECT_EQ(first["first_layer"], 0);
  EXPECT_EQ(last["first_layer"], first["layers"]);
  for (const nlohmann::json& rank : status["ranks"]) {
    EXPECT_EQ(rank["up"], true);
    EXPECT_EQ(rank["threads"], 1);
    EXPECT_FALSE(rank["host"].get<std::string>().empty());
    EXPECT_FALSE(rank["device"].get<std::string>().empty());
    for (const char* bytes : {"weight_bytes", "kv_bytes", "resident_bytes"})
      EXPECT_GT(rank[bytes], 0) << bytes;
    EXPECT_LT(rank["seconds_since_heard"], 5);
  }
}

TEST(MetricsTest, NeedAKeyUnlessTheyAreOpen) {
  const std::string key = "Authorization: Bearer secret\r\n";
  const DemoServer closed(1, 1, {"--api-key=secret"});
  EXPECT_EQ(HttpClient(closed.port()).Get("/metrics").status, 401);
  EXPECT_FALSE(Scrape(closed, key).empty());
  const DemoServer open(1, 1, {"--api-key=secret", "--metrics-open"});
  EXPECT_FALSE(Scrape(open).empty());
}

}  // namespace
}  // namespace ternion
