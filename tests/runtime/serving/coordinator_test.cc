#include "runtime/serving/coordinator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace ternion {
namespace {

SchedulerLimits Limits() {
  SchedulerLimits limits;
  limits.blocks = 64;
  limits.vocab = 100;
  return limits;
}

// A model that answers each sequence with the number of tokens it has.
absl::StatusOr<StepResult> Count(const StepPlan& plan) {
  StepResult result;
  result.step = plan.step;
  for (const StepSequence& s : plan.sequences) {
    if (s.sample) result.sequences.push_back({s.id, static_cast<int32_t>(s.sample_index), 0, 0});
  }
  return result;
}

GenerateRequest Request(int64_t prompt, int64_t max_tokens) {
  GenerateRequest request;
  request.prompt.assign(prompt, 1);
  request.max_tokens = max_tokens;
  return request;
}

TEST(Coordinator, RunsToTheEndAndDrains) {
  Coordinator coordinator(
      Limits(), true, [](const StepPlan&) {}, Count);
  std::vector<int32_t> tokens;
  ASSERT_TRUE(
      coordinator.Submit(Request(3, 4), [&](const TokenEvent& e) { tokens.push_back(e.token); }).ok());
  coordinator.Drain();
  EXPECT_TRUE(absl::IsUnavailable(coordinator.Submit(Request(3, 4), [](const TokenEvent&) {}).status()));
  EXPECT_TRUE(coordinator.Run().ok());
  EXPECT_EQ(tokens, (std::vector<int32_t>{3, 4, 5, 6}));
}

TEST(Coordinator, ManyThreadsSubmitAndCancel) {
  Coordinator coordinator(
      Limits(), true, [](const StepPlan&) {}, Count);
  std::thread engine([&] { EXPECT_TRUE(coordinator.Run().ok()); });
  std::atomic<int> ended{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 50; ++i) {
        const auto id =
            coordinator.Submit(Request(1 + i % 9, 20), [&, last = false](const TokenEvent& e) mutable {
              EXPECT_FALSE(last) << "an event after the last";
              last = e.finish.has_value();
              ended += last ? 1 : 0;
            });
        ASSERT_TRUE(id.ok());
        if ((i + c) % 3 == 0) coordinator.Cancel(*id);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  coordinator.Drain();
  engine.join();
  EXPECT_EQ(ended, 200);
  EXPECT_EQ(coordinator.active_requests(), 0);
}

TEST(Coordinator, AFailedStepEndsEveryRequestWithItsError) {
  const auto fail = [](const StepPlan&) -> absl::StatusOr<StepResult> {
    return absl::UnavailableError("rank 1 is gone");
  };
  Coordinator coordinator(
      Limits(), true, [](const StepPlan&) {}, fail);
  int failed = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(
        coordinator.Submit(Request(3, 4), [&](const TokenEvent& e) { failed += e.status.ok() ? 0 : 1; })
            .ok());
  }
  EXPECT_TRUE(absl::IsUnavailable(coordinator.Run()));
  EXPECT_EQ(failed, 3);
  EXPECT_TRUE(absl::IsUnavailable(coordinator.Ready()));
}

TEST(Coordinator, StopCancelsWhatRuns) {
  Coordinator coordinator(
      Limits(), true, [](const StepPlan&) {}, Count);
  std::optional<FinishReason> finish;
  ASSERT_TRUE(coordinator.Submit(Request(3, 1000), [&](const TokenEvent& e) { finish = e.finish; }).ok());
  coordinator.Stop();
  EXPECT_TRUE(coordinator.Run().ok());
  EXPECT_EQ(finish, FinishReason::kCancelled);
}

}  // namespace
}  // namespace ternion
