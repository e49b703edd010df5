#include "launcher/bench_serve_workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "absl/strings/str_split.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kDraws = 20000;

struct Moments {
  double mean = 0;
  double deviation = 0;
  double median = 0;
};

Moments Measure(std::vector<double> values) {
  Moments moments;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) moments.mean += value / count;
  for (const double value : values) {
    moments.deviation += (value - moments.mean) * (value - moments.mean) / count;
  }
  moments.deviation = std::sqrt(moments.deviation);
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  moments.median = values[values.size() / 2];
  return moments;
}

std::vector<double> Draw(const std::string& text) {
  const auto lengths = LengthDistribution::Parse("--input-len", text);
  EXPECT_TRUE(lengths.ok()) << lengths.status();
  BenchRandom random(7, 1);
  std::vector<double> drawn;
  for (int i = 0; i < kDraws; ++i) drawn.push_back(static_cast<double>(lengths->Draw(random)));
  return drawn;
}

Workload Make(const WorkloadOptions& options) {
  auto workload = Workload::Make(options);
  EXPECT_TRUE(workload.ok()) << workload.status();
  return *std::move(workload);
}

std::vector<int64_t> Ids(const Workload& workload, int64_t request) {
  return json::parse(workload.Prompt(request)).get<std::vector<int64_t>>();
}

size_t CommonPrefix(const std::vector<int64_t>& one, const std::vector<int64_t>& other) {
  size_t common = 0;
  while (common < std::min(one.size(), other.size()) && one[common] == other[common]) ++common;
  return common;
}

TEST(PoissonArrivalsTest, GapsAreExponential) {
  const std::vector<double> times = PoissonArrivals(5, kDraws + 1, 3);
  ASSERT_EQ(times.size(), kDraws + 1u);
  EXPECT_EQ(times[0], 0);
  std::vector<double> gaps;
  for (int i = 0; i < kDraws; ++i) gaps.push_back(times[i + 1] - times[i]);
  EXPECT_GE(*std::min_element(gaps.begin(), gaps.end()), 0);
  const Moments moments = Measure(gaps);
  EXPECT_NEAR(moments.mean, 0.2, 0.004);  // three standard errors
  EXPECT_NEAR(moments.deviation, 0.2, 0.006);
  EXPECT_NEAR(moments.median, 0.2 * std::log(2), 0.004);
}

// In windows of a second: as many on average as the rate, and the variance of a Poisson number is its mean.
TEST(PoissonArrivalsTest, CountsArePoisson) {
  const std::vector<double> times = PoissonArrivals(5, kDraws, 4);
  std::vector<double> counts(static_cast<size_t>(times.back()));
  for (const double time : times) {
    if (time < static_cast<double>(counts.size())) ++counts[static_cast<size_t>(time)];
  }
  const Moments moments = Measure(counts);
  EXPECT_NEAR(moments.mean, 5, 0.12);
  EXPECT_NEAR(moments.deviation * moments.deviation, 5, 0.35);
}

TEST(PoissonArrivalsTest, FollowFromTheSeedAlone) {
  const std::vector<double> times = PoissonArrivals(1, 100, 11);
  EXPECT_EQ(PoissonArrivals(1, 100, 11), times);
  EXPECT_NE(PoissonArrivals(1, 100, 12), times);
  const std::vector<double> faster = PoissonArrivals(4, 100, 11);
  for (size_t i = 0; i < times.size(); ++i) EXPECT_NEAR(faster[i] * 4, times[i], 1e-9);
}

TEST(LengthDistributionTest, Fixed) { EXPECT_THAT(Draw("17"), testing::Each(17)); }

TEST(LengthDistributionTest, UniformTakesBothEnds) {
  std::map<double, int> counts;
  for (const double length : Draw("uniform:3:7")) ++counts[length];
  ASSERT_EQ(counts.size(), 5u);
  EXPECT_EQ(counts.begin()->first, 3);
  EXPECT_EQ(counts.rbegin()->first, 7);
  for (const auto& [length, count] : counts) EXPECT_NEAR(count, kDraws / 5, 200) << length;
}

TEST(LengthDistributionTest, Normal) {
  const Moments moments = Measure(Draw("normal:500:40"));
  EXPECT_NEAR(moments.mean, 500, 1);
  EXPECT_NEAR(moments.deviation, 40, 1);
  EXPECT_NEAR(moments.median, 500, 1);
  EXPECT_THAT(Draw("normal:500:0"), testing::Each(500));
}

// Mean and deviation are those of the lengths; the median of a log-normal is mean / sqrt(1 + (deviation /
// mean)^2).
TEST(LengthDistributionTest, Lognormal) {
  const Moments moments = Measure(Draw("lognormal:500:400"));
  EXPECT_NEAR(moments.mean, 500, 9);
  EXPECT_NEAR(moments.deviation, 400, 20);
  EXPECT_NEAR(moments.median, 500 / std::sqrt(1.64), 7);
}

TEST(LengthDistributionTest, IsCutToOneAndTheLongest) {
  const std::vector<double> lengths = Draw("normal:10:20:25");
  EXPECT_EQ(*std::min_element(lengths.begin(), lengths.end()), 1);
  EXPECT_EQ(*std::max_element(lengths.begin(), lengths.end()), 25);
}

TEST(LengthDistributionTest, RefusesWhatItCannotRead) {
  for (const char* text : {"",
                           "0",
                           "-1",
                           "1.5",
                           "x",
                           "nan",
                           "inf",
                           "99999999",
                           "5:6",
                           ":5",
                           "uniform:5",
                           "uniform:9:3",
                           "uniform:0:3",
                           "uniform:1:2:3",
                           "uniform:1:2.5",
                           "normal:5",
                           "normal:5:-1",
                           "normal:5:1:0",
                           "normal:5:nan",
                           "normal:a:b",
                           "normal:5:1:9:9",
                           "lognormal:0:1",
                           "gamma:1:2"}) {
    const absl::Status status = LengthDistribution::Parse("--output-len", text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--output-len " + std::string(text)));
    EXPECT_THAT(std::string(status.message()), HasSubstr("uniform:A:B"));
  }
}

TEST(WorkloadTest, MakesIdsOfTheLengthsAskedFor) {
  WorkloadOptions options;
  options.requests = 50;
  options.input_len = "uniform:5:40";
  options.output_len = "uniform:2:9";
  options.vocab = 100;
  const Workload workload = Make(options);
  ASSERT_EQ(workload.requests(), 50);
  std::set<std::vector<int64_t>> prompts;
  for (int64_t i = 0; i < 50; ++i) {
    const std::vector<int64_t> ids = Ids(workload, i);
    EXPECT_EQ(static_cast<int64_t>(ids.size()), workload.input_len(i));
    EXPECT_THAT(ids, testing::Each(testing::AllOf(testing::Ge(16), testing::Lt(100))));
    EXPECT_THAT(workload.output_len(i), testing::AllOf(testing::Ge(2), testing::Le(9)));
    prompts.insert(ids);
  }
  EXPECT_EQ(prompts.size(), 50u);
}

TEST(WorkloadTest, FollowsFromTheSeed) {
  WorkloadOptions options;
  options.requests = 3;
  const std::string prompt = Make(options).Prompt(2);
  EXPECT_EQ(Make(options).Prompt(2), prompt);
  options.output_len = "uniform:1:9";  // no draw of another kind moves it
  EXPECT_EQ(Make(options).Prompt(2), prompt);
  options.seed = 1;
  EXPECT_NE(Make(options).Prompt(2), prompt);
}

TEST(WorkloadTest, SharesAPrefixOfTokens) {
  WorkloadOptions options;
  options.input_len = "uniform:64:96";
  options.shared_prefix = "32";
  const Workload workload = Make(options);
  for (int64_t i = 1; i < 100; ++i) {
    const size_t common = CommonPrefix(Ids(workload, 0), Ids(workload, i));
    EXPECT_THAT(common, testing::AllOf(testing::Ge(32u), testing::Le(34u)));
  }
}

TEST(WorkloadTest, SharesAPartOfEveryPrompt) {
  WorkloadOptions options;
  options.requests = 2;
  options.input_len = "80";
  options.shared_prefix = "25%";
  const Workload workload = Make(options);
  EXPECT_EQ(CommonPrefix(Ids(workload, 0), Ids(workload, 1)), 20u);
  options.shared_prefix = "0";
  const Workload apart = Make(options);
  EXPECT_LE(CommonPrefix(Ids(apart, 0), Ids(apart, 1)), 1u);
}

TEST(WorkloadTest, TextCountsWords) {
  WorkloadOptions options;
  options.requests = 1;
  options.input_len = "30";
  options.prompt_kind = "text";
  const Workload workload = Make(options);
  const std::string text = json::parse(workload.Prompt(0)).get<std::string>();
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  EXPECT_EQ(words.size(), 30u);
  EXPECT_EQ(workload.input_len(0), 0) << "the server counts tokens";
}

TEST(WorkloadTest, RefusesAWrongPrefixOrVocabulary) {
  WorkloadOptions options;
  for (const char* prefix : {"x", "-1", "101%", "%", "1.5", ""}) {
    options.shared_prefix = prefix;
    EXPECT_THAT(std::string(Workload::Make(options).status().message()), HasSubstr("50%")) << prefix;
  }
  options.shared_prefix = "600";
  EXPECT_THAT(std::string(Workload::Make(options).status().message()), HasSubstr("longest prompt has 512"));
  options.shared_prefix = "512";
  EXPECT_TRUE(Workload::Make(options).ok());
  options.vocab = 16;
  EXPECT_THAT(std::string(Workload::Make(options).status().message()), HasSubstr("--vocab 16"));
}

TEST(PromptFileTest, GivesTextsAndIds) {
  std::istringstream lines(
      "{\"prompt\": \"Caf\\u00e9 \\\"x\\\"\", \"other\": [1]}\r\n\n"
      "{\"prompt\": [5, 6, 7], \"output_len\": 12}\n");
  const auto prompts = ReadPrompts("file", lines);
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 2u);
  EXPECT_EQ(json::parse((*prompts)[0].json), "Café \"x\"");
  EXPECT_EQ((*prompts)[0].tokens, 0);
  EXPECT_EQ((*prompts)[0].output_len, 0);
  EXPECT_EQ((*prompts)[1].json, "[5,6,7]");
  EXPECT_EQ((*prompts)[1].tokens, 3);
  EXPECT_EQ((*prompts)[1].output_len, 12);
}

TEST(PromptFileTest, TellsEveryBadLine) {
  std::istringstream lines(
      "{\"prompt\": \"good\"}\n"
      "{\"prompt\": \"cut\n"
      "[1, 2]\n"
      "\n"
      "{\"text\": \"no prompt\"}\n"
      "{\"prompt\": 5}\n"
      "{\"prompt\": \"\"}\n"
      "{\"prompt\": [1, -2]}\n"
      "{\"prompt\": []}\n"
      "{\"prompt\": \"x\", \"output_len\": 0}\n"
      "{\"prompt\": \"x\", \"output_len\": \"8\"}\n"
      "{\"prompt\": \"bad \xff\"}\n");
  const absl::Status status = ReadPrompts("p.jsonl", lines).status();
  const std::vector<std::string> errors = absl::StrSplit(status.message(), '\n');
  EXPECT_THAT(
      errors,
      ElementsAre(HasSubstr("p.jsonl:2: is no JSON object"), HasSubstr("p.jsonl:3: is no JSON"),
                  HasSubstr("p.jsonl:5: has no \"prompt\""), HasSubstr("p.jsonl:6: \"prompt\" must"),
                  HasSubstr("p.jsonl:7: \"prompt\" is empty"), HasSubstr("p.jsonl:8: \"prompt\" holds -2"),
                  HasSubstr("p.jsonl:9: \"prompt\" is empty"), HasSubstr("p.jsonl:10: \"output_len\" is 0"),
                  HasSubstr("p.jsonl:11: \"output_len\" is \"8\""), HasSubstr("p.jsonl:12: is no JSON")));
}

TEST(PromptFileTest, RefusesAnEmptyOne) {
  std::istringstream lines("\n \n");
  EXPECT_THAT(std::string(ReadPrompts("p.jsonl", lines).status().message()),
              HasSubstr("p.jsonl holds no prompt"));
}

TEST(PromptFileTest, IsTakenFromTheStartAgain) {
  const TempFolder folder;
  WorkloadOptions options;
  options.prompts =
      folder.Write("p.jsonl", "{\"prompt\": [1, 2], \"output_len\": 3}\n{\"prompt\": \"b\"}\n").string();
  EXPECT_EQ(Make(options).requests(), 2);
  options.requests = 5;
  options.output_len = "8";
  const Workload workload = Make(options);
  ASSERT_EQ(workload.requests(), 5);
  EXPECT_EQ(workload.Prompt(4), "[1,2]");
  EXPECT_EQ(workload.input_len(4), 2);
  EXPECT_EQ(workload.output_len(4), 3);
  EXPECT_EQ(workload.Prompt(3), "\"b\"");
  EXPECT_EQ(workload.output_len(3), 8);
  options.prompts = "/no/file";
  EXPECT_THAT(std::string(Workload::Make(options).status().message()), HasSubstr("--prompts /no/file"));
}

}  // namespace
}  // namespace ternion
