#include "runtime/serving/retry_after.h"

#include <gtest/gtest.h>

namespace ternion {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = CompletionRate::Clock;

const Clock::time_point kStart = Clock::time_point(seconds(1000));

TEST(CompletionRate, IsUnknownAtFirst) {
  CompletionRate rate;
  EXPECT_EQ(rate.TimeFor(10, kStart), CompletionRate::kUnknown);
}

TEST(CompletionRate, TellsWhenThoseThatWaitHaveHadTheirTurn) {
  CompletionRate rate;
  for (int i = 0; i <= 10; ++i) rate.Add(1, kStart + milliseconds(500 * i));  // two a second
  const Clock::time_point now = kStart + seconds(5);
  EXPECT_EQ(rate.TimeFor(8, now), seconds(4));
  EXPECT_EQ(rate.TimeFor(9, now), seconds(5)) << "whole seconds, rounded up";
  EXPECT_EQ(rate.TimeFor(0, now), seconds(1)) << "at least one";
}

TEST(CompletionRate, SinksWhileNothingEnds) {
  CompletionRate rate;
  rate.Add(11, kStart);
  EXPECT_EQ(rate.TimeFor(10, kStart + seconds(1)), seconds(1));
  EXPECT_EQ(rate.TimeFor(10, kStart + seconds(30)), seconds(30));
  EXPECT_EQ(rate.TimeFor(10, kStart + std::chrono::hours(9)), CompletionRate::kMost);
}

TEST(CompletionRate, ForgetsWhatIsLongAgo) {
  CompletionRate rate;
  rate.Add(1, kStart);
  for (int i = 0; i < 1000; ++i) rate.Add(1, kStart + seconds(3600) + milliseconds(10 * i));
  EXPECT_EQ(rate.TimeFor(300, kStart + seconds(3610)), seconds(4)) << "a hundred a second, for 127";
}

TEST(RetryAfter, TravelsWithAStatus) {
  const absl::Status status = WithRetryAfter(absl::ResourceExhaustedError("full"), seconds(17));
  EXPECT_EQ(RetryAfterOf(status), seconds(17));
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(RetryAfterOf(absl::InternalError("other")), std::nullopt);
}

}  // namespace
}  // namespace ternion
