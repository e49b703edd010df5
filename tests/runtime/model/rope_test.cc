#include "runtime/model/rope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/checkpoint/json.h"

namespace ternion {
namespace {

using nlohmann::json;

absl::StatusOr<RopeConfig> Read(const json& config) { return ReadRope(*JsonFields::Of(config, "m")); }

// The angle of position 1, where the frequency is small enough to tell it.
double FrequencyAt(const RopeConfig& rope, int head_dim, int pair) {
  const std::vector<float> table = RotaryTable(rope, 2, head_dim);
  return std::asin(static_cast<double>(table[head_dim + head_dim / 2 + pair]));
}

TEST(Rope, PlainFrequenciesFallGeometrically) {
  const auto rope = Read({{"rope_theta", 10000.0}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  for (const int pair : {1, 7, 31}) {
    EXPECT_NEAR(FrequencyAt(*rope, 64, pair), std::pow(10000.0, -pair / 32.0), 1e-7);
  }
}

TEST(Rope, LinearScalingDividesAll) {
  const auto rope = Read({{"rope_theta", 10000.0}, {"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_NEAR(FrequencyAt(*rope, 64, 3), std::pow(10000.0, -3 / 32.0) / 4, 1e-7);
}

// Llama 3.1's numbers; what transformers' _compute_llama3_parameters gives for three of the 64 frequencies.
TEST(Rope, Llama3ScalingLeavesShortWaves) {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  const auto rope = Read({{"rope_theta", 500000.0}, {"rope_scaling", scaling}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  const auto plain = [](int pair) { return std::pow(500000.0, -pair / 64.0); };
  EXPECT_NEAR(FrequencyAt(*rope, 128, 20), plain(20), 1e-8);      // a wave of 380 positions
  EXPECT_NEAR(FrequencyAt(*rope, 128, 50), plain(50) / 8, 1e-8);  // one of 178,000
  const double waves = 8192 * plain(32) / (2 * M_PI);             // one of 4,443: between 2,048 and 8,192
  const double whole = (waves - 1) / 3;
  EXPECT_NEAR(FrequencyAt(*rope, 128, 32), (1 - whole) * plain(32) / 8 + whole * plain(32), 1e-8);
}

TEST(Rope, NewerFilesKeepItInRopeParameters) {
  const auto rope =
      Read({{"rope_parameters", {{"rope_theta", 5e5}, {"rope_type", "linear"}, {"factor", 2.0}}}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->theta, 5e5f);
  EXPECT_EQ(rope->scaling, RopeConfig::Scaling::kLinear);
}

TEST(Rope, RefusesFactorsThatDoNotOrder) {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 4.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  EXPECT_THAT(std::string(Read({{"rope_theta", 1e4}, {"rope_scaling", scaling}}).status().message()),
              testing::HasSubstr("high_freq_factor is 4.0; it must be above low_freq_factor"));
}

}  // namespace
}  // namespace ternion
