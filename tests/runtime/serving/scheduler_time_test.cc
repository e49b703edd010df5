// Who goes first, and how long a request may take.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/serving/coordinator.h"
#include "runtime/serving/scheduler.h"

namespace ternion {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Clock = std::chrono::steady_clock;

SchedulerLimits Limits(int64_t sequences) {
  SchedulerLimits limits;
  limits.max_sequences = sequences;
  limits.blocks = 16;
  limits.vocab = 100;
  return limits;
}

GenerateRequest Request(int64_t max_tokens = 5, int32_t priority = 0) {
  GenerateRequest request;
  request.prompt = {1, 2, 3};
  request.max_tokens = max_tokens;
  request.priority = priority;
  return request;
}

TokenSink Ignore() {
  return [](const TokenEvent&) {};
}

StepResult Answer(const StepPlan& plan) {
  StepResult result;
  result.step = plan.step;
  for (const StepSequence& s : plan.sequences) {
    if (s.sample) result.sequences.push_back({s.id, 9, 0, 0});
  }
  return result;
}

TEST(Priority, LowerOnesGoFirstAndEqualOnesInTheirOrder) {
  Scheduler scheduler(Limits(1));
  for (const int32_t priority : {0, 5, -1, 0, -1}) {
    ASSERT_TRUE(scheduler.Submit(Request(1, priority), Ignore()).ok());
  }
  std::vector<uint64_t> order;
  while (const auto plan = scheduler.PlanStep()) {
    order.push_back(plan->sequences[0].id);
    scheduler.Commit(Answer(*plan));
  }
  EXPECT_THAT(order, ElementsAre(3, 5, 1, 4, 2));
}

TEST(Priority, DoesNotStopWhatRuns) {
  Scheduler scheduler(Limits(1));
  ASSERT_TRUE(scheduler.Submit(Request(2), Ignore()).ok());
  scheduler.Commit(Answer(*scheduler.PlanStep()));
  ASSERT_TRUE(scheduler.Submit(Request(2, -1), Ignore()).ok());
  EXPECT_EQ(scheduler.PlanStep()->sequences[0].id, 1u);
}

TEST(Deadlines, OfTheQueueEndsOnlyWhatWaits) {
  Scheduler scheduler(Limits(1));
  const auto now = Clock::now();
  EXPECT_EQ(scheduler.next_due(), Clock::time_point::max());
  GenerateRequest request = Request();
  request.queue_deadline = now + hours(1);
  ASSERT_TRUE(scheduler.Submit(request, Ignore()).ok());
  const auto plan = scheduler.PlanStep();
  EXPECT_EQ(scheduler.next_due(), Clock::time_point::max()) << "it runs";
  ASSERT_TRUE(scheduler.Submit(request, Ignore()).ok());
  EXPECT_EQ(scheduler.next_due(), now + hours(1));
  EXPECT_THAT(scheduler.Expire(now + hours(1) - milliseconds(1)), IsEmpty());
  const auto notices = scheduler.Expire(now + hours(1));
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(notices[0].event.status));
  EXPECT_THAT(std::string(notices[0].event.status.message()), HasSubstr("waited for its turn"));
  EXPECT_EQ(scheduler.waiting(), 0);
  EXPECT_EQ(scheduler.running(), 1);
}

TEST(Deadlines, EndWhatRunsWhenNoPlanHoldsIt) {
  Scheduler scheduler(Limits(1));
  const auto now = Clock::now();
  GenerateRequest request = Request();
  request.deadline = now + hours(1);
  ASSERT_TRUE(scheduler.Submit(request, Ignore()).ok());
  ASSERT_TRUE(scheduler.Submit(request, Ignore()).ok());
  const auto plan = scheduler.PlanStep();
  const auto notices = scheduler.Expire(now + hours(2));
  ASSERT_EQ(notices.size(), 2u);
  for (const auto& notice : notices) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(notice.event.status));
    EXPECT_THAT(std::string(notice.event.status.message()), HasSubstr("before its last token"));
  }
  EXPECT_EQ(scheduler.free_blocks(), 15);
  EXPECT_THAT(scheduler.Commit(Answer(*plan)), IsEmpty());
  EXPECT_EQ(scheduler.free_blocks(), 16);
  EXPECT_EQ(scheduler.next_due(), Clock::time_point::max());
}

TEST(Deadlines, TheQueueHasALimitForRequestsThatNameNone) {
  SchedulerLimits limits = Limits(1);
  limits.max_queue_time = hours(1);
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Submit(Request(), Ignore()).ok());
  EXPECT_LE(scheduler.next_due(), Clock::now() + hours(1));
  EXPECT_GT(scheduler.next_due(), Clock::now() + milliseconds(3'500'000));
  GenerateRequest own = Request();
  own.queue_deadline = Clock::now() + hours(2);
  Scheduler other(limits);
  ASSERT_TRUE(other.Submit(own, Ignore()).ok());
  EXPECT_EQ(other.next_due(), own.queue_deadline);
}

// The coordinator wakes up for a deadline when nothing else happens: here no plan is ever answered.
TEST(Deadlines, WakeTheCoordinator) {
  Coordinator coordinator(
      Limits(1), false, [](const StepPlan&) {},
      [](const StepPlan&) -> absl::StatusOr<StepResult> { return StepResult(); });
  absl::Status ended;
  GenerateRequest request = Request();
  ASSERT_TRUE(coordinator.Submit(Request(), Ignore()).ok());
  request.queue_deadline = Clock::now() + milliseconds(50);
  ASSERT_TRUE(coordinator
                  .Submit(request,
                          [&](const TokenEvent& event) {
                            ended = event.status;
                            coordinator.OnFailure(absl::AbortedError("the end of the test"));
                          })
                  .ok());
  EXPECT_TRUE(absl::IsAborted(coordinator.Run()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(ended)) << ended;
  EXPECT_EQ(coordinator.stats().waiting, 0);
}

}  // namespace
}  // namespace ternion
