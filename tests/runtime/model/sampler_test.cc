#include "runtime/model/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

namespace ternion {
namespace {

// Shares of each id over many seeds.
std::map<int32_t, double> Shares(const std::vector<float>& logits, SamplingParams params) {
  constexpr int kDraws = 20000;
  std::map<int32_t, double> shares;
  Sampler sampler;
  for (int i = 0; i < kDraws; ++i) {
    params.seed = i;
    shares[sampler.Sample(logits, params, 5)] += 1.0 / kDraws;
  }
  return shares;
}

TEST(Sampler, GreedyTakesTheLowestOfEquals) {
  Sampler sampler;
  EXPECT_EQ(sampler.Sample({1, 5, 3, 5}, {}, 0), 1);
}

TEST(Sampler, FollowsTheSoftmaxAtTheTemperature) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f};
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    double sum = 0;
    for (float l : logits) sum += std::exp(l / temperature);
    auto shares = Shares(logits, {temperature, 0, 1.0f, 0});
    for (int32_t id = 0; id < 4; ++id)
      EXPECT_NEAR(shares[id], std::exp(logits[id] / temperature) / sum, 0.015);
  }
}

TEST(Sampler, TopKKeepsTheLowestIdsOfEquals) {
  const auto shares = Shares({1.0f, 2.0f, 1.0f, 1.0f, 0.0f}, {1.0f, 2, 1.0f, 0});
  EXPECT_EQ(shares.size(), 2u);
  EXPECT_TRUE(shares.count(0) && shares.count(1));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  EXPECT_EQ(Shares(logits, {1.0f, 0, 0.4f, 0}).size(), 1u);
  auto two = Shares(logits, {1.0f, 0, 0.79f, 0});
  EXPECT_EQ(two.size(), 2u);
  EXPECT_NEAR(two[0], 0.625, 0.015);
  EXPECT_EQ(Shares(logits, {1.0f, 0, 0.9f, 0}).size(), 3u);
}

TEST(Sampler, DrawsDependOnSeedAndPositionAlone) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i % 7);
  Sampler used;
  used.Sample(logits, {1.0f, 10, 0.5f, 3}, 1);
  Sampler fresh;
  const SamplingParams params{0.9f, 0, 0.95f, 42};
  EXPECT_EQ(used.Sample(logits, params, 17), fresh.Sample(logits, params, 17));
  std::map<int32_t, int> seen;
  for (int64_t position = 0; position < 50; ++position) ++seen[fresh.Sample(logits, params, position)];
  EXPECT_GT(seen.size(), 20u);
}

// Philox4x32-10's published test vector for a zero key and counter: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
TEST(Philox, KnownAnswer) {
  EXPECT_EQ(PhiloxUniform(0, 0), static_cast<double>(0x6627e8d5e169c58dULL >> 11) * 0x1p-53);
}

TEST(NegativeLogLikelihood, IsTheReferences) {
  std::vector<float> logits(700);
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(std::sin(static_cast<double>(i)) * 50 + 60);
    sum += std::exp(static_cast<double>(logits[i]));
  }
  EXPECT_NEAR(NegativeLogLikelihood(logits, 3), std::log(sum) - static_cast<double>(logits[3]), 1e-9);
}

}  // namespace
}  // namespace ternion
