// Penalties, biases, minimum lengths and log-probabilities, through scheduler and engine: every request is told the same
// alone on one rank, and together with others on any grid.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/local_cluster.h"

namespace ternion {
namespace {

using Completion = LocalCluster::Completion;

std::unique_ptr<WeightSource> TinyModel() {
  auto source = OpenSynthetic(std::string(TERNION_SOURCE_DIR) + "/tests/data/tiny-a4.8.json");
  EXPECT_TRUE(source.ok()) << source.status();
  return *std::move(source);
}

struct Case {
  std::string name;
  int tp = 1;
  int pp = 1;
  bool ahead = false;
  int64_t batch_tokens = 64;
  int64_t blocks = 64;
};
void PrintTo(const Case& grid, std::ostream* out) { *out << grid.name; }

LocalCluster::Options Grid(const Case& grid) {
  LocalCluster::Options options;
  options.tp = grid.tp;
  options.pp = grid.pp;
  options.plans_ahead = grid.ahead;
  options.engine.max_model_len = 256;
  options.engine.max_batch_tokens = grid.batch_tokens;
  options.engine.kv_blocks = grid.blocks;
  return options;
}

std::vector<Completion> RunOn(const Case& grid, WeightSource& source, std::vector<GenerateRequest> requests) {
  return LocalCluster(source, Grid(grid)).Run(std::move(requests));
}
// On one rank.
Completion RunAlone(WeightSource& source, const GenerateRequest& request) {
  return RunOn(Case{}, source, {request})[0];
}

GenerateRequest Request(int64_t length, int64_t max_tokens) {
  GenerateRequest request;
  for (int64_t t = 0; t < length; ++t)
    request.prompt.push_back(static_cast<int32_t>((7 * t + 31 * length) % 1000));
  request.max_tokens = max_tokens;
  return request;
}

// One of each kind, greedy and drawn.
std::vector<GenerateRequest> MixedRequests() {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 16; ++i) {
    GenerateRequest request = Request(1 + 9 * i, 12 + i % 3);
    if (i % 2 == 1)
      request.sampling = {0.9f, i % 4 == 1 ? 0 : 30, i % 8 < 4 ? 0.95f : 1.0f, static_cast<uint64_t>(i)};
    if (i % 3 == 1) request.sampling.min_p = 0.05f;
    if (i % 4 == 0) request.sampling.repetition_penalty = 1.3f;
    if (i % 4 == 1) request.sampling.frequency_penalty = 0.7f;
    if (i % 4 == 2) request.sampling.presence_penalty = -0.5f;
    if (i % 5 == 1) request.logit_bias = {{17, 4.0f}, {18, -100.0f}, {600, 3.0f}};
    if (i % 5 == 2) request.min_tokens = 6;
    if (i % 3 == 0) request.logprobs = i % 6;
    if (i % 6 == 4) request.prompt_logprobs = i % 5;
    requests.push_back(request);
  }
  return requests;
}

void ExpectSame(const Completion& want, const Completion& got, size_t request) {
  EXPECT_TRUE(got.status.ok()) << got.status;
  EXPECT_EQ(want.tokens, got.tokens) << "request " << request;
  EXPECT_EQ(want.finish, got.finish) << "request " << request;
  EXPECT_EQ(want.logprobs, got.logprobs) << "request " << request;
  EXPECT_EQ(want.prompt_logprobs, got.prompt_logprobs) << "request " << request;
}

class SamplingOnGrids : public testing::TestWithParam<Case> {};

TEST_P(SamplingOnGrids, EveryRequestIsToldTheSameAsAlone) {
  const auto source = TinyModel();
  const std::vector<GenerateRequest> requests = MixedRequests();
  LocalCluster cluster(*source, Grid(GetParam()));
  const std::vector<Completion> together = cluster.Run(requests);
  EXPECT_EQ(cluster.coordinator().stats().preemptions > 0, GetParam().blocks < Case{}.blocks);
  for (size_t i = 0; i < requests.size(); ++i) {
    const Completion alone = RunAlone(*source, requests[i]);
    ExpectSame(alone, together[i], i);
    EXPECT_EQ(alone.logprobs.size(), requests[i].logprobs >= 0 ? alone.tokens.size() : 0);
    EXPECT_EQ(alone.prompt_logprobs.size(),
              requests[i].prompt_logprobs >= 0 ? requests[i].prompt.size() - 1 : 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Grids, SamplingOnGrids,
                         testing::Values(Case{"tp1"}, Case{"tp1_chunks", 1, 1, false, 9},
                                         Case{"tp1_preempted", 1, 1, false, 64, 5},
                                         Case{"tp1_ahead", 1, 1, true}, Case{"tp2", 2, 1}, Case{"tp4", 4, 1},
                                         Case{"pp2", 1, 2}, Case{"tp2_pp2", 2, 2}),
                         [](const auto& test) { return test.param.name; });

TEST(Sampling, ABiasForbidsOrForcesTokens) {
  const auto source = TinyModel();
  GenerateRequest request = Request(5, 8);
  const Completion plain = RunAlone(*source, request);
  request.logit_bias = {{plain.tokens[0], -100.0f}};
  const Completion without = RunAlone(*source, request);
  EXPECT_EQ(std::count(without.tokens.begin(), without.tokens.end(), plain.tokens[0]), 0);
  request.logit_bias = {{123, 100.0f}};
  EXPECT_EQ(RunAlone(*source, request).tokens, std::vector<int32_t>(8, 123));
}

TEST(Sampling, PresenceAndFrequencyDriveTokensAway) {
  const auto source = TinyModel();
  GenerateRequest request = Request(5, 20);
  request.logit_bias = {{123, 50.0f}};
  request.sampling.presence_penalty = 60;
  const Completion once = RunAlone(*source, request);
  EXPECT_EQ(once.tokens[0], 123);
  EXPECT_EQ(std::count(once.tokens.begin(), once.tokens.end(), 123), 1);
  request.sampling.presence_penalty = 0;
  request.sampling.frequency_penalty = 20;  // 50, 30, 10 above the others, whose logits are small
  const Completion thrice = RunAlone(*source, request);
  EXPECT_EQ(std::count(thrice.tokens.begin(), thrice.tokens.end(), 123), 3);
}

// At a large repetition penalty no token of prompt or answer comes again while others have positive logits.
TEST(Sampling, RepetitionDrivesTokensOfPromptAndAnswerAway) {
  const auto source = TinyModel();
  GenerateRequest request = Request(60, 20);
  request.sampling.repetition_penalty = 1e6f;
  std::vector<int32_t> seen = request.prompt;
  for (const int32_t token : RunAlone(*source, request).tokens) {
    EXPECT_EQ(std::count(seen.begin(), seen.end(), token), 0);
    seen.push_back(token);
  }
}

TEST(Sampling, MinTokensPutTheEndOff) {
  const auto source = TinyModel();
  const int32_t eos = source->config().eos_ids[0];
  GenerateRequest request = Request(5, 10);
  request.logit_bias = {{eos, 100.0f}, {50, 60.0f}};
  EXPECT_EQ(RunAlone(*source, request).tokens, std::vector<int32_t>({eos}));
  request.min_tokens = 4;
  for (const bool ahead : {false, true}) {
    const Completion completion = RunOn(Case{"", 1, 1, ahead}, *source, {request})[0];
    EXPECT_EQ(completion.tokens, std::vector<int32_t>({50, 50, 50, 50, eos}));
    EXPECT_EQ(completion.finish, FinishReason::kStop);
  }
  request.stop_ids = {50};
  EXPECT_EQ(RunAlone(*source, request).tokens.size(), 5u);
}

TEST(Sampling, LogprobsAreThoseOfTheModelWhateverIsDrawn) {
  const auto source = TinyModel();
  GenerateRequest request = Request(40, 6);
  request.logprobs = 3;
  const Completion greedy = RunAlone(*source, request);
  for (size_t i = 0; i < greedy.tokens.size(); ++i) {
    const TokenLogprobs& told = greedy.logprobs[i];
    ASSERT_EQ(told.top.size(), 3u);
    EXPECT_EQ(told.top[0], std::pair(greedy.tokens[i], told.logprob));
    EXPECT_GT(told.top[0].second, told.top[1].second);
  }
  request.logit_bias = {{greedy.tokens[0], -100.0f}};
  const Completion biased = RunAlone(*source, request);
  EXPECT_EQ(biased.logprobs[0].top, greedy.logprobs[0].top);
  EXPECT_EQ(biased.tokens[0], greedy.logprobs[0].top[1].first);
  EXPECT_EQ(biased.logprobs[0].logprob, greedy.logprobs[0].top[1].second);
}

// The likelihood of the prompt, by another road.
TEST(Sampling, PromptLogprobsAddUpToTheScore) {
  const auto source = TinyModel();
  GenerateRequest told = Request(100, 1), scored = told;
  told.prompt_logprobs = 0;
  scored.score_targets.assign(scored.prompt.begin() + 1, scored.prompt.end());
  scored.prompt.pop_back();
  for (const Case& grid : {Case{"", 1, 1, false, 512}, Case{"", 2, 2, false, 7}}) {
    const std::vector<Completion> both = RunOn(grid, *source, {told, scored});
    ASSERT_EQ(both[0].prompt_logprobs.size(), 99u);
    double sum = 0;
    for (const TokenLogprobs& token : both[0].prompt_logprobs) sum += static_cast<double>(token.logprob);
    EXPECT_NEAR(-sum, both[1].negative_log_likelihood, 1e-3);
  }
}

// The same seed gives the same tokens whatever the company, another seed others.
TEST(Sampling, TheSeedAloneDecides) {
  const auto source = TinyModel();
  std::vector<GenerateRequest> requests;
  for (uint64_t i = 0; i < 12; ++i) {
    requests.push_back(Request(20, 16));
    requests.back().sampling = {1.0f, 0, 1.0f, 40 + i / 2};
    requests.back().sampling.presence_penalty = 0.5f;
    requests.back().sampling.repetition_penalty = 1.1f;
  }
  const std::vector<Completion> completions = RunOn(Case{"", 2, 1, false, 30}, *source, requests);
  for (size_t i = 0; i < requests.size(); i += 2) {
    EXPECT_EQ(completions[i].tokens, completions[i + 1].tokens);
    EXPECT_EQ(completions[i].tokens, RunAlone(*source, requests[i]).tokens);
    if (i > 0) {
      EXPECT_NE(completions[i].tokens, completions[i - 1].tokens);
    }
  }
}

TEST(Sampling, RefusesWhatTheModelDoesNotHave) {
  const auto source = TinyModel();
  const auto refused = [&](auto change) {
    GenerateRequest request = Request(3, 3);
    change(request);
    return absl::IsInvalidArgument(RunAlone(*source, request).status);
  };
  EXPECT_TRUE(refused([](auto& r) { r.logit_bias = {{1000, 1.0f}}; }));
  EXPECT_TRUE(refused([](auto& r) { r.stop_ids = {-1}; }));
  EXPECT_TRUE(refused([](auto& r) { r.logprobs = kMostLogprobs + 1; }));
  EXPECT_TRUE(refused([](auto& r) { r.prompt_logprobs = kMostLogprobs + 1; }));
  EXPECT_TRUE(refused([](auto& r) { r.sampling.repetition_penalty = 0; }));
  EXPECT_TRUE(refused([](auto& r) { r.sampling.presence_penalty = std::numeric_limits<float>::infinity(); }));
  EXPECT_FALSE(refused([](auto&) {}));
}

}  // namespace
}  // namespace ternion
