#include "runtime/serving/request_life.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/serving/serving_metrics.h"
#include "tests/support/prometheus_text.h"

namespace ternion {
namespace {

using Time = RequestTimes::Time;

TokenEvent Token(int32_t id, Time started) {
  TokenEvent event;
  event.token = id;
  event.started = started;
  event.told = std::chrono::steady_clock::now();
  return event;
}

GenerateRequest Request() {
  GenerateRequest request;
  request.prompt = {1, 2, 3};
  return request;
}

TEST(RequestLife, PassesEveryEventOnAndCountsIt) {
  ServingMetrics metrics("m");
  TokenGaps gaps;
  Trace trace;
  std::vector<int32_t> told;
  RequestLife life(
      Request(), [&](const TokenEvent& event) { told.push_back(event.token); }, &metrics, &gaps, &trace);
  life.SetId(12);
  const Time started = std::chrono::steady_clock::now();
  life.Take(Token(5, started));
  TokenEvent last = Token(6, started);
  last.finish = FinishReason::kStop;
  life.Take(last);
  EXPECT_EQ(told, (std::vector<int32_t>{5, 6}));

  const Samples samples = ParsePrometheus(metrics.Text());
  EXPECT_EQ(ValueOf(samples, "vllm:generation_tokens_total{model_name=\"m\"}"), 2);
  EXPECT_EQ(ValueOf(samples, "vllm:inter_token_latency_seconds_count{model_name=\"m\"}"), 1);
  EXPECT_EQ(ValueOf(samples, "vllm:request_success_total{finished_reason=\"stop\",model_name=\"m\"}"), 1);

  ASSERT_EQ(trace.spans().size(), 3u);
  const char* names[] = {"queued", "prefill", "decode"};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_STREQ(trace.spans()[i].name, names[i]);
    EXPECT_EQ(trace.spans()[i].id, 12u);
    if (i > 0) {
      EXPECT_EQ(trace.spans()[i].begin, trace.spans()[i - 1].end);
    }
  }
  EXPECT_EQ(trace.spans()[1].tokens, 3);
  EXPECT_EQ(trace.spans()[2].tokens, 2);
}

TEST(RequestLife, OneThatNeverStartedWasQueuedAlone) {
  Trace trace;
  RequestLife life(
      Request(), [](const TokenEvent&) {}, nullptr, nullptr, &trace);
  TokenEvent event;
  event.status = absl::DeadlineExceededError("too long");
  event.told = std::chrono::steady_clock::now();
  life.Take(event);
  ASSERT_EQ(trace.spans().size(), 1u);
  EXPECT_STREQ(trace.spans()[0].name, "queued");
}

TEST(RequestLife, OneCancelledInItsPrefillEndsThere) {
  Trace trace;
  RequestLife life(
      Request(), [](const TokenEvent&) {}, nullptr, nullptr, &trace);
  TokenEvent event;
  event.finish = FinishReason::kCancelled;
  event.started = std::chrono::steady_clock::now();
  event.told = std::chrono::steady_clock::now();
  life.Take(event);
  ASSERT_EQ(trace.spans().size(), 2u);
  EXPECT_STREQ(trace.spans()[1].name, "prefill");
}

}  // namespace
}  // namespace ternion
