#include "runtime/serving/logit_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace ternion {
namespace {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
const std::vector<int32_t> kEos = {2, 3};

TEST(LogitRules, AnOrdinaryRequestHasNone) {
  GenerateRequest request;
  request.prompt = {5, 6};
  request.stop_ids = {7};
  LogitRules rules(request, kEos);
  rules.Add(9);
  EXPECT_THAT(rules.ChangesOf(0), IsEmpty());
  EXPECT_FALSE(rules.depends_on_tokens());
}

TEST(LogitRules, ABiasIsAlwaysThere) {
  GenerateRequest request;
  request.logit_bias = {{4, 1.5f}, {8, -100}};
  LogitRules rules(request, kEos);
  rules.Add(4);
  EXPECT_THAT(rules.ChangesOf(3),
              UnorderedElementsAre(LogitChange{0, 4, 1.5f, 1, 0}, LogitChange{0, 8, -100, 1, 0}));
  EXPECT_FALSE(rules.depends_on_tokens());
}

TEST(LogitRules, MinTokensBanWhatEndsTheAnswerUntilThen) {
  GenerateRequest request;
  request.min_tokens = 2;
  request.stop_ids = {3, 9};
  request.logit_bias = {{9, 5}};
  LogitRules rules(request, kEos);
  const auto banned =
      UnorderedElementsAre(LogitChange{0, 2, kForbidden, 1, 0}, LogitChange{0, 3, kForbidden, 1, 0},
                           LogitChange{0, 9, kForbidden, 1, 0});
  EXPECT_THAT(rules.ChangesOf(0), banned);
  EXPECT_THAT(rules.ChangesOf(1), banned);
  EXPECT_THAT(rules.ChangesOf(2), UnorderedElementsAre(LogitChange{0, 9, 5, 1, 0}));
  EXPECT_FALSE(rules.depends_on_tokens()) << "on their number alone";
}

// Repetition counts the prompt, the two others do not.
TEST(LogitRules, PenaltiesFollowTheTokens) {
  GenerateRequest request;
  request.prompt = {5, 6, 5};
  request.sampling.repetition_penalty = 1.25f;
  request.sampling.presence_penalty = 0.5f;
  request.sampling.frequency_penalty = -0.25f;
  LogitRules rules(request, kEos);
  EXPECT_TRUE(rules.depends_on_tokens());
  EXPECT_THAT(rules.ChangesOf(0),
              UnorderedElementsAre(LogitChange{0, 5, 0, 1.25f, 0}, LogitChange{0, 6, 0, 1.25f, 0}));
  for (const int32_t token : {6, 7, 7, 7}) rules.Add(token);
  EXPECT_THAT(rules.ChangesOf(4),
              UnorderedElementsAre(LogitChange{0, 5, 0, 1.25f, 0}, LogitChange{0, 6, 0, 1.25f, 0.25f},
                                   LogitChange{0, 7, 0, 1.25f, -0.25f}));
}

TEST(LogitRules, OfAColumnThereIsOneChange) {
  GenerateRequest request;
  request.prompt = {2};
  request.min_tokens = 1;
  request.logit_bias = {{2, 3}};
  request.sampling.repetition_penalty = 2;
  request.sampling.frequency_penalty = 1;
  LogitRules rules(request, kEos);
  EXPECT_THAT(rules.ChangesOf(0),
              UnorderedElementsAre(LogitChange{0, 2, kForbidden, 2, 0}, LogitChange{0, 3, kForbidden, 1, 0}));
  rules.Add(2);
  EXPECT_THAT(rules.ChangesOf(1), UnorderedElementsAre(LogitChange{0, 2, 3, 2, 1}));
}

}  // namespace
}  // namespace ternion
