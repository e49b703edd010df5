#include "launcher/bench_serve_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ternion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using End = RequestRecord::End;

RequestRecord Done(int64_t prompt, int64_t tokens, double ttft, std::vector<double> itls) {
  RequestRecord record;
  record.end = End::kDone;
  record.output_len = tokens;
  record.prompt_tokens = prompt;
  record.completion_tokens = tokens;
  record.counted_by_server = true;
  record.ttft = ttft;
  record.e2el = ttft;
  for (const double gap : itls) record.e2el += gap;
  record.itls = std::move(itls);
  return record;
}

RequestRecord Ended(End end, const std::string& error) {
  RequestRecord record;
  record.end = end;
  record.prompt_tokens = 1000;
  record.completion_tokens = 500;
  record.ttft = record.e2el = 100;
  record.error = error;
  return record;
}

// Three that were done in two seconds, and three that were not.
LoadResult SixRequests() {
  LoadResult result;
  result.records = {Done(10, 4, 0.1, {0.02, 0.03, 0.05}),
                    Ended(End::kRefused, "HTTP 429: full"),
                    Done(20, 2, 0.3, {0.1}),
                    Ended(End::kFailed, "HTTP 503: draining"),
                    Done(30, 1, 0.5, {}),
                    Ended(End::kFailed, "HTTP 503: draining")};
  result.duration = 2;
  result.peak = 3;
  return result;
}

GoodputLimits Limits(const std::vector<std::string>& texts) {
  const auto limits = ParseGoodput(texts);
  EXPECT_TRUE(limits.ok()) << limits.status();
  return *limits;
}

// As numpy.percentile gives them.
TEST(PercentileTest, IsLinearBetweenValues) {
  EXPECT_EQ(Percentile({}, 50), 0);
  EXPECT_EQ(Percentile({7}, 99), 7);
  EXPECT_EQ(Percentile({1, 2, 3, 4}, 0), 1);
  EXPECT_EQ(Percentile({1, 2, 3, 4}, 50), 2.5);
  EXPECT_NEAR(Percentile({1, 2, 3, 4}, 99), 3.97, 1e-12);
  EXPECT_EQ(Percentile({1, 2, 3, 4}, 100), 4);
  EXPECT_NEAR(Percentile({15, 20, 35, 40, 50}, 40), 29, 1e-12);
}

TEST(GoodputTest, EveryLimitMustHold) {
  const LoadResult result = SixRequests();
  const auto good = [&](const std::vector<std::string>& limits) {
    return Summarize(result, Limits(limits)).good;
  };
  EXPECT_EQ(good({"ttft:310"}), 2);
  EXPECT_EQ(good({"ttft:299"}), 1);
  EXPECT_EQ(good({"tpot:50"}), 2) << "an answer of one token has no second one to wait for";
  EXPECT_EQ(good({"tpot:50", "ttft:310"}), 1);
  EXPECT_EQ(good({"e2el:450"}), 2);
  EXPECT_EQ(good({"e2el:100"}), 0);
  EXPECT_EQ(good({"e2el:1e6"}), 3) << "what failed is never good";
}

TEST(GoodputTest, RefusesOtherLimits) {
  for (const char* text :
       {"ttft", "ttft:", "ttft:x", "ttft:0", "ttft:-5", "ttft:inf", "ttft:nan", "ttft:1:2", "itl:5", ""}) {
    const absl::Status status = ParseGoodput({text}).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("ttft:MS")) << text;
  }
  EXPECT_THAT(std::string(ParseGoodput({"tpot:5", "tpot:6"}).status().message()), HasSubstr("twice"));
}

constexpr char kReport[] = R"(============ Serving Benchmark Result ============
Successful requests:                     3         
Failed requests:                         2         
Refused requests (429):                  1         
Request rate configured (RPS):           2.50      
Benchmark duration (s):                  2.00      
Total input tokens:                      60        
Total generated tokens:                  7         
Request throughput (req/s):              1.50      
Request goodput (req/s):                 0.50      
Output token throughput (tok/s):         3.50      
Peak concurrent requests:                3.00      
Total Token throughput (tok/s):          33.50     
---------------Time to First Token----------------
Mean TTFT (ms):                          300.00    
Median TTFT (ms):                        300.00    
P99 TTFT (ms):                           496.00    
-----Time per Output Token (excl. 1st token)------
Mean TPOT (ms):                          66.67     
Median TPOT (ms):                        66.67     
P99 TPOT (ms):                           99.33     
---------------Inter-token Latency----------------
Mean ITL (ms):                           50.00     
Median ITL (ms):                         40.00     
P99 ITL (ms):                            98.50     
----------------End-to-end Latency----------------
Mean E2EL (ms):                          366.67    
Median E2EL (ms):                        400.00    
P99 E2EL (ms):                           498.00    
==================================================
)";

TEST(ReportTest, IsVllmsBlock) {
  const LoadResult result = SixRequests();
  const GoodputLimits limits = Limits({"ttft:310", "tpot:50"});
  LoadOptions options;
  options.rate = 2.5;
  EXPECT_EQ(ReportText(Summarize(result, limits), result, options, limits), kReport);
}

TEST(ReportTest, RowsFollowTheOptions) {
  LoadOptions options;
  options.concurrency = 8;
  const std::string text = ReportText(Summarize({}, {}), {}, options, {});
  EXPECT_THAT(text, HasSubstr("Maximum request concurrency:             8         \n"));
  EXPECT_THAT(text, HasSubstr("P99 E2EL (ms):                           0.00      \n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("goodput")));
  EXPECT_THAT(text, testing::Not(HasSubstr("RPS")));
}

TEST(ReportTest, CountsWhatMayBeWrong) {
  LoadResult result = SixRequests();
  result.records[0].output_len = 5;
  result.records[2].counted_by_server = false;
  for (RequestRecord& record : result.records) record.sent = record.due + 0.25;
  const Summary summary = Summarize(result, {});
  EXPECT_EQ(summary.other_lengths, 1);
  EXPECT_EQ(summary.counted_by_chunks, 1);
  EXPECT_EQ(summary.p99_send_delay, 0.25);
}

TEST(ReportTest, ReasonsOfFailuresByTheirNumber) {
  EXPECT_THAT(FailureLines(SixRequests()),
              ElementsAre("2 requests: HTTP 503: draining", "1 request: HTTP 429: full"));
}

TEST(ReportTest, JsonHoldsConfigSummaryAndRequests) {
  const LoadResult result = SixRequests();
  const GoodputLimits limits = Limits({"ttft:310"});
  const nlohmann::json report = ReportJson(Summarize(result, limits), result, limits, {{"seed", 3}});
  EXPECT_EQ(report["config"]["seed"], 3);
  const nlohmann::json& summary = report["summary"];
  EXPECT_EQ(summary["completed"], 3);
  EXPECT_EQ(summary["failed"], 2);
  EXPECT_EQ(summary["refused"], 1);
  EXPECT_EQ(summary["request_goodput"], 1.0);
  EXPECT_NEAR(summary["p99_ttft_ms"], 496, 1e-9);
  EXPECT_NEAR(summary["std_ttft_ms"], 163.299316, 1e-6);
  EXPECT_NEAR(summary["median_itl_ms"], 40, 1e-9);
  const nlohmann::json& requests = report["requests"];
  for (const auto& [key, values] : requests.items()) EXPECT_EQ(values.size(), 6u) << key;
  EXPECT_EQ(requests["status"], nlohmann::json({"done", "refused", "done", "failed", "done", "failed"}));
  EXPECT_EQ(requests["output_lens"][0], 4);
  EXPECT_EQ(requests["itls"][0].size(), 3u);
  EXPECT_EQ(requests["errors"][1], "HTTP 429: full");
}

}  // namespace
}  // namespace ternion
