#include <gtest/gtest.h>

#include <string>

#include "runtime/serving/step_plan.h"

namespace ternion {
namespace {

StepPlan SamplePlan() {
  StepPlan plan;
  plan.step = 12;
  StepSequence& drawn = plan.sequences.emplace_back();
  drawn.id = 3;
  drawn.tokens = {~1};
  drawn.block_table = {4, 9};
  drawn.sample = true;
  drawn.sampling = {0.5f, 7, 0.25f, 99};
  drawn.sampling.min_p = 0.125f;
  drawn.changes = {{0, 17, -100, 1.5f, 0.25f}, {0, 2, -1e30f, 1, 0}};
  drawn.mask = {0x80000001, 0, 7};
  drawn.logprobs = 5;
  StepSequence& told = plan.sequences.emplace_back();
  told.tokens = {1, 2, 3};
  told.targets = {2, 3};
  told.prompt_logprobs = 0;
  plan.released = {3, 4};
  plan.copies = {{1, 2}};
  return plan;
}

StepResult SampleResult() {
  StepResult result;
  result.step = 12;
  result.sequences.push_back({3, 9, 77, 0, TokenLogprobs{-0.5f, {{9, -0.5f}, {1, -2}}}, {}});
  result.sequences.push_back({4, -1, 0, 1.5, {}, {{-1, {}}, {-2, {{5, -0.25f}}}}});
  return result;
}

TEST(StepCodec, APlanArrivesAsItLeft) {
  const StepPlan plan = SamplePlan();
  const std::string bytes = EncodePlan(plan);
  const auto decoded = DecodePlan(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(EncodePlan(*decoded), bytes);
  EXPECT_EQ(decoded->sequences[0].changes, plan.sequences[0].changes);
  EXPECT_EQ(decoded->sequences[0].mask, plan.sequences[0].mask);
  EXPECT_TRUE(decoded->sequences[1].mask.empty());
  EXPECT_EQ(decoded->sequences[0].sampling.min_p, 0.125f);
  EXPECT_EQ(decoded->sequences[0].logprobs, 5);
  EXPECT_EQ(decoded->sequences[1].logprobs, -1);
  EXPECT_EQ(decoded->sequences[1].prompt_logprobs, 0);
  EXPECT_EQ(decoded->sequences[1].targets, plan.sequences[1].targets);
}

TEST(StepCodec, AnAnswerArrivesAsItLeft) {
  const StepResult result = SampleResult();
  const auto decoded = DecodeResult(EncodeResult(result));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->step, 12u);
  EXPECT_EQ(decoded->sequences, result.sequences);
}

// Whatever a frame claims to hold, nothing is read beyond its end.
TEST(StepCodec, EveryCutIsMalformed) {
  const std::string plan = EncodePlan(SamplePlan()), result = EncodeResult(SampleResult());
  for (size_t length = 0; length < plan.size(); ++length) {
    EXPECT_FALSE(DecodePlan(plan.substr(0, length)).ok()) << length;
  }
  for (size_t length = 0; length < result.size(); ++length) {
    EXPECT_FALSE(DecodeResult(result.substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(DecodePlan(plan + "x").ok());
  EXPECT_FALSE(DecodeResult(result + "x").ok());
}

TEST(StepCodec, ACountBeyondTheFrameIsMalformed) {
  const std::string plan = EncodePlan(SamplePlan());
  for (size_t at = 0; at + 4 <= plan.size(); ++at) {
    std::string lies = plan;
    lies.replace(at, 4, "\xff\xff\xff\x7f");
    const auto decoded = DecodePlan(lies);
    if (decoded.ok()) {
      EXPECT_EQ(EncodePlan(*decoded).size(), plan.size()) << "byte " << at;
    }
  }
}

}  // namespace
}  // namespace ternion
