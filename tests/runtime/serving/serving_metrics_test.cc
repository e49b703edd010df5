#include "runtime/serving/serving_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/serving/rank_count_board.h"
#include "tests/support/prometheus_text.h"

namespace ternion {
namespace {

using std::chrono::milliseconds;

RequestTimes Times() {
  RequestTimes times;
  times.arrived = RequestTimes::Time(milliseconds(1000));
  times.started = RequestTimes::Time(milliseconds(1100));
  times.first_token = RequestTimes::Time(milliseconds(1300));
  times.last_token = RequestTimes::Time(milliseconds(1700));
  times.ended = RequestTimes::Time(milliseconds(1700));
  times.prompt_tokens = 7;
  times.generated_tokens = 3;
  return times;
}

TEST(ServingMetrics, EverythingIsThereBeforeAnythingHappens) {
  ServingMetrics metrics("demo");
  const Samples samples = ParsePrometheus(metrics.Text());
  ExpectConsistentHistograms(samples);
  for (const char* name :
       {"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
        "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total", "vllm:num_preemptions_total",
        "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:time_to_first_token_seconds_count",
        "vllm:inter_token_latency_seconds_count", "vllm:e2e_request_latency_seconds_count",
        "vllm:request_queue_time_seconds_count", "vllm:request_prefill_time_seconds_count",
        "vllm:request_decode_time_seconds_count", "vllm:request_prompt_tokens_count",
        "vllm:request_generation_tokens_count", "vllm:iteration_tokens_total_count"}) {
    EXPECT_EQ(ValueOf(samples, std::string(name) + "{model_name=\"demo\"}"), 0);
  }
}

TokenGaps Gaps(std::initializer_list<std::chrono::nanoseconds> lengths) {
  TokenGaps gaps;
  for (const std::chrono::nanoseconds length : lengths) gaps.Add(length);
  return gaps;
}

// A bucket holds what is as long as its bound, or shorter; the last all that is longer than the others.
TEST(ServingMetrics, GapsFallIntoTheirBuckets) {
  ServingMetrics metrics("demo");
  metrics.ObserveTokens(Gaps({milliseconds(1), milliseconds(1), milliseconds(2), milliseconds(90'000)}));
  metrics.ObserveTokens(Gaps({}));
  const Samples samples = ParsePrometheus(metrics.Text());
  ExpectConsistentHistograms(samples);
  const auto within = [&](const char* bound) {
    return ValueOf(samples, absl::StrCat("vllm:inter_token_latency_seconds_bucket{le=\"", bound,
                                         "\",model_name=\"demo\"}"));
  };
  EXPECT_EQ(within("0.0005"), 0);
  EXPECT_EQ(within("0.001"), 2);
  EXPECT_EQ(within("0.0025"), 3);
  EXPECT_EQ(within("80"), 3);
  EXPECT_EQ(within("+Inf"), 4);
}

TEST(ServingMetrics, ARequestsTimesGoWhereTheyBelong) {
  ServingMetrics metrics("demo");
  metrics.ObserveFirstToken(Times());
  metrics.ObserveTokens(Gaps({milliseconds(200), milliseconds(200)}));
  metrics.ObserveEnd(Times(), FinishReason::kLength);
  metrics.ObserveEnd(Times(), FinishReason::kCancelled);
  const Samples samples = ParsePrometheus(metrics.Text());
  ExpectConsistentHistograms(samples);
  const auto value = [&](const std::string& name) {
    return ValueOf(samples, name + "{model_name=\"demo\"}");
  };
  EXPECT_EQ(value("vllm:prompt_tokens_total"), 7);
  EXPECT_EQ(value("vllm:generation_tokens_total"), 3);
  EXPECT_DOUBLE_EQ(value("vllm:time_to_first_token_seconds_sum"), 0.3);
  EXPECT_DOUBLE_EQ(value("vllm:inter_token_latency_seconds_sum"), 0.4);
  EXPECT_EQ(value("vllm:inter_token_latency_seconds_count"), 2);
  EXPECT_DOUBLE_EQ(value("vllm:e2e_request_latency_seconds_sum"), 0.7);
  EXPECT_DOUBLE_EQ(value("vllm:request_queue_time_seconds_sum"), 0.1);
  EXPECT_DOUBLE_EQ(value("vllm:request_prefill_time_seconds_sum"), 0.2);
  EXPECT_DOUBLE_EQ(value("vllm:request_decode_time_seconds_sum"), 0.4);
  EXPECT_EQ(value("vllm:request_prompt_tokens_sum"), 7);
  EXPECT_EQ(value("vllm:request_generation_tokens_count"), 1) << "cancelled ones are left out";
  EXPECT_EQ(ValueOf(samples, "vllm:request_success_total{finished_reason=\"length\",model_name=\"demo\"}"),
            1);
  EXPECT_EQ(ValueOf(samples, "vllm:request_success_total{finished_reason=\"abort\",model_name=\"demo\"}"), 1);
  EXPECT_EQ(ValueOf(samples, "vllm:request_success_total{finished_reason=\"stop\",model_name=\"demo\"}"), 0);
}

TEST(ServingMetrics, AStepsPhases) {
  ServingMetrics metrics("demo");
  metrics.ObservePhase(StepPhase::kPlan, std::chrono::microseconds(3));
  metrics.ObserveStep(64, std::chrono::microseconds(30));
  const Samples samples = ParsePrometheus(metrics.Text());
  EXPECT_EQ(ValueOf(samples, "ternion:step_seconds_count{phase=\"plan\"}"), 1);
  EXPECT_EQ(ValueOf(samples, "ternion:step_seconds_bucket{le=\"2e-05\",phase=\"coordinator\"}"), 0);
  EXPECT_EQ(ValueOf(samples, "ternion:step_seconds_bucket{le=\"5e-05\",phase=\"coordinator\"}"), 1);
  EXPECT_EQ(ValueOf(samples, "vllm:iteration_tokens_total_sum{model_name=\"demo\"}"), 64);
}

TEST(ServingMetrics, WhatIsAskedForAtAScrape) {
  ServingMetrics metrics("demo");
  metrics.SetInfo({{"tp", "2"}, {"wire", "exact"}});
  int64_t hits = 0;
  metrics.BeforeScrape([&](ServingMetrics& scraped) {
    SchedulerStats stats;
    stats.running = 3;
    stats.waiting = 5;
    stats.blocks = 8;
    stats.used_blocks = 2;
    stats.prefix_query_tokens = 100;
    stats.prefix_hit_tokens = hits += 10;
    scraped.SetScheduler(stats);
    scraped.SetRank(1, true, 0.25);
  });
  metrics.Text();
  const Samples samples = ParsePrometheus(metrics.Text());
  EXPECT_EQ(ValueOf(samples, "vllm:num_requests_running{model_name=\"demo\"}"), 3);
  EXPECT_EQ(ValueOf(samples, "vllm:num_requests_waiting{model_name=\"demo\"}"), 5);
  EXPECT_EQ(ValueOf(samples, "vllm:kv_cache_usage_perc{model_name=\"demo\"}"), 0.25);
  EXPECT_EQ(ValueOf(samples, "vllm:prefix_cache_queries_total{model_name=\"demo\"}"), 100);
  EXPECT_EQ(ValueOf(samples, "vllm:prefix_cache_hits_total{model_name=\"demo\"}"), 20);
  EXPECT_EQ(ValueOf(samples, "ternion:rank_up{rank=\"1\"}"), 1);
  EXPECT_EQ(ValueOf(samples, "ternion:rank_last_heartbeat_seconds{rank=\"1\"}"), 0.25);
  EXPECT_EQ(ValueOf(samples, "ternion:info{tp=\"2\",wire=\"exact\"}"), 1);
}

TEST(ServingMetrics, ScrapesWhileThreadsCount) {
  ServingMetrics metrics("demo");
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) metrics.ObserveTokens(Gaps({milliseconds(i % 50)}));
    });
  }
  for (int i = 0; i < 20; ++i) ExpectConsistentHistograms(ParsePrometheus(metrics.Text()));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ValueOf(ParsePrometheus(metrics.Text()), "vllm:generation_tokens_total{model_name=\"demo\"}"),
            6000);
}

// Ranks 0 and 1 are a group on one host, 2 and 3 one that spans two.
TEST(RankCountBoard, CountsByTheLinkThatTheBytesTake) {
  RankCountBoard board({/*tp=*/2, /*pp=*/2, /*rank=*/0}, {"a", "a", "a", "b"});
  board.Set(0, {{1, 10, 100}, {}});
  board.Set(1, {{2, 20, 200}, {}});
  board.Set(3, *DecodeRankCounts(EncodeRankCounts({{4, 40, 400}, {}})));
  ServingMetrics metrics("demo");
  board.Show(metrics);
  const Samples samples = ParsePrometheus(metrics.Text());
  const auto bytes = [&](const std::string& kind, const std::string& link) {
    return ValueOf(samples, "ternion:wire_bytes_total{kind=\"" + kind + "\",link=\"" + link + "\"}");
  };
  EXPECT_EQ(bytes("reduce", "host"), 3);
  EXPECT_EQ(bytes("reduce", "network"), 4);
  EXPECT_EQ(bytes("gather", "host"), 30);
  EXPECT_EQ(bytes("pipeline", "host"), 100 + 400) << "rank 0 to 2; the last stage's shares within its group";
  EXPECT_EQ(bytes("pipeline", "network"), 200) << "rank 1 to 3";
  EXPECT_FALSE(DecodeRankCounts("short").has_value());
}

TEST(RankCountBoard, TellsTheShareOfWeightsThatAllRanksSkip) {
  RankCountBoard board({/*tp=*/2, /*pp=*/1, /*rank=*/0}, {"a", "a"});
  ServingMetrics metrics("demo");
  board.Show(metrics);
  EXPECT_EQ(metrics.Text().find("ternion:weights_skipped_ratio"), std::string::npos)
      << "where nothing is counted";
  board.Set(0, {{}, {1000, 400}});
  board.Set(1, *DecodeRankCounts(EncodeRankCounts({{}, {3000, 2600}})));
  board.Show(metrics);
  EXPECT_EQ(ValueOf(ParsePrometheus(metrics.Text()), "ternion:weights_skipped_ratio"), 0.75);
}

}  // namespace
}  // namespace ternion
