#include "runtime/model/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace ternion {
namespace {

TEST(DrawAt, DependsOnSeedAndPositionAlone) {
  const SamplingParams params{0.9f, 3, 0.95f, 42};
  const SampleRow draw = DrawAt(params, 17);
  EXPECT_EQ(draw.temperature, 0.9f);
  EXPECT_EQ(draw.top_k, 3);
  EXPECT_EQ(draw.top_p, 0.95f);
  EXPECT_EQ(draw.uniform, DrawAt(params, 17).uniform);
  EXPECT_NE(draw.uniform, DrawAt(params, 18).uniform);
  EXPECT_NE(draw.uniform, DrawAt({0.9f, 3, 0.95f, 43}, 17).uniform);
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
