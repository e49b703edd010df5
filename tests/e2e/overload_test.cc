// A server with more to do than it can, and with clients that do not read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/demo_server.h"
#include "tests/support/program.h"
#include "tests/support/prometheus_text.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr int64_t kMaxQueue = 6;
constexpr double kMaxQueueSeconds = 1.5;

json BenchServe(const DemoServer& server, std::vector<std::string> arguments) {
  const TempFolder folder;
  const std::string report = (folder.path() / "report.json").string();
  arguments.insert(arguments.begin(),
                   {"bench", "serve", "--url=http://127.0.0.1:" + std::to_string(server.port()),
                    "--json=" + report, "--input-len=16", "--output-len=32"});
  const ProgramResult result = RunProgram(1, arguments);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  std::ifstream file(report);
  json out = json::parse(file, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(out.is_object()) << result.out << result.err;
  return out;
}

double Metric(const DemoServer& server, const std::string& name) {
  HttpClient client(server.port());
  return ValueOf(ParsePrometheus(client.Get("/metrics").body), "vllm:" + name + "{model_name=\"demo\"}");
}

// Looks at the queue's length until it is destroyed.
class QueueWatch {
 public:
  explicit QueueWatch(const DemoServer& server)
      : thread_([this, &server] {
          while (!done_) {
            longest_ = std::max(longest_.load(), Metric(server, "num_requests_waiting"));
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
        }) {}
  ~QueueWatch() { Stop(); }

  double Stop() {
    done_ = true;
    if (thread_.joinable()) thread_.join();
    return longest_;
  }

 private:
  std::atomic<bool> done_{false};
  std::atomic<double> longest_{0};
  std::thread thread_;
};

TEST(OverloadTest, AtTwiceTheRateTheQueueIsBoundedAndWhoIsAcceptedWaitsNoLongerThanItsLimit) {
  const DemoServer server(1, 1,
                          {"--max-sequences=2", "--max-queue=" + std::to_string(kMaxQueue),
                           "--max-queue-time=" + std::to_string(kMaxQueueSeconds)});
  const json calm = BenchServe(server, {"--concurrency=2", "--requests=24"});
  const double sustained = calm["summary"]["request_throughput"];
  ASSERT_GT(sustained, 0);
  ASSERT_EQ(calm["summary"]["completed"], 24);

  const auto requests = std::clamp<int64_t>(static_cast<int64_t>(2 * sustained * 4), 40, 400);
  QueueWatch queue(server);
  const json loaded = BenchServe(
      server, {"--rate=" + std::to_string(2 * sustained), "--requests=" + std::to_string(requests)});
  EXPECT_LE(queue.Stop(), kMaxQueue);
  const json& summary = loaded["summary"];
  const int64_t completed = summary["completed"], refused = summary["refused"];
  EXPECT_EQ(completed + refused, requests) << "none failed otherwise: " << summary["failed"];
  EXPECT_GE(completed, requests / 5);
  EXPECT_GE(refused, requests / 10);
  // Its time in the queue, then the prefill; half a second for a machine that is busy with something else.
  EXPECT_LT(summary["p99_ttft_ms"].get<double>(), (kMaxQueueSeconds + 0.5) * 1000);

  const json after = BenchServe(server, {"--concurrency=1", "--requests=4"});
  EXPECT_EQ(after["summary"]["completed"], 4) << "it has recovered at once";
  EXPECT_EQ(Metric(server, "num_requests_waiting"), 0);
  EXPECT_EQ(Metric(server, "kv_cache_usage_perc"), 0);
}

TEST(OverloadTest, ARefusalSaysWhenToComeAgain) {
  const DemoServer server(1, 1, {"--max-sequences=1", "--max-queue=2", "--max-queue-time=0.3"});
  std::vector<std::unique_ptr<HttpClient>> clients;
  const std::string request = PostRequest("/v1/completions", CompletionRequest("The", 1500).dump());
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    ASSERT_TRUE(clients.back()->Send(request));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  // The first runs; two wait in vain, the others are refused at once.
  for (size_t i = 1; i < clients.size(); ++i) {
    const HttpReply reply = clients[i]->Read();
    EXPECT_EQ(reply.status, 429) << reply.body;
    ASSERT_EQ(reply.headers.count("retry-after"), 1u);
    const int seconds = std::stoi(reply.headers.at("retry-after"));
    EXPECT_GE(seconds, 1);
    EXPECT_LE(seconds, 600);
    EXPECT_EQ(Body(reply)["error"]["type"], "rate_limit_error");
  }
}

// Sixteen answers of 1,800 tokens are far more than the sockets' buffers and the server's own hold.
TEST(OverloadTest, AClientThatNeverReadsIsDroppedAndTheOthersTokensFlow) {
  const DemoServer server(1, 1, {"--max-buffered-bytes=65536", "--no-prefix-caching"});
  json endless = CompletionRequest("The", 1800);
  endless["n"] = 16;
  HttpClient silent(server.port());
  ASSERT_TRUE(BeginStream(silent, endless));
  int64_t rounds = 0;
  const std::string aborted = "vllm:request_success_total{finished_reason=\"abort\",model_name=\"demo\"}";
  const auto Aborted = [&] {
    HttpClient client(server.port());
    return ValueOf(ParsePrometheus(client.Get("/metrics").body), aborted);
  };
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (Aborted() < 16 && std::chrono::steady_clock::now() < limit) {
    const StreamResult other = Stream(server.port(), CompletionRequest("A mutex", 8));
    EXPECT_EQ(other.completion_tokens, 8);
    ++rounds;
  }
  EXPECT_EQ(Aborted(), 16);
  EXPECT_GE(rounds, 1);
  EXPECT_LT(Metric(server, "generation_tokens_total"), 16 * 1800) << "long before its end";
  EXPECT_EQ(Metric(server, "num_requests_running"), 0);
  EXPECT_EQ(Metric(server, "kv_cache_usage_perc"), 0) << "its blocks are free";
}

}  // namespace
}  // namespace ternion
