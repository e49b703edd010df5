#include "runtime/serving/coordinator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "kernels/check.h"
#include "runtime/serving/serving_metrics.h"
#include "tests/support/prometheus_text.h"

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

TEST(Coordinator, MeasuresWhatItTakesForAStep) {
  constexpr auto kSending = std::chrono::milliseconds(2);
  constexpr auto kRunning = std::chrono::milliseconds(5);
  ServingMetrics metrics("demo");
  Trace trace;
  Coordinator coordinator(
      Limits(), true, [&](const StepPlan&) { std::this_thread::sleep_for(kSending); },
      [&](const StepPlan& plan) {
        std::this_thread::sleep_for(kRunning);
        return Count(plan);
      });
  coordinator.UseMetrics(&metrics);
  coordinator.UseTrace(&trace);
  ASSERT_TRUE(coordinator.Submit(Request(3, 4), [](const TokenEvent&) {}).ok());
  coordinator.Drain();
  EXPECT_TRUE(coordinator.Run().ok());
  const StepTimes times = coordinator.step_times();
  EXPECT_EQ(times.steps, 4);
  EXPECT_GE(times.phases[static_cast<size_t>(StepPhase::kRun)], 4 * kRunning);
  EXPECT_GE(times.Coordinator(), 4 * kSending);
  EXPECT_EQ((times - times).Coordinator().count(), 0);
  const Samples samples = ParsePrometheus(metrics.Text());
  for (const char* phase : {"plan", "send", "run", "coordinator"}) {
    EXPECT_EQ(ValueOf(samples, std::string("ternion:step_seconds_count{phase=\"") + phase + "\"}"), 4);
  }
  EXPECT_GE(ValueOf(samples, "ternion:step_seconds_sum{phase=\"coordinator\"}"), 0.008);
  EXPECT_EQ(ValueOf(samples, "vllm:time_to_first_token_seconds_count{model_name=\"demo\"}"), 1);
  EXPECT_EQ(std::count_if(trace.spans().begin(), trace.spans().end(),
                          [](const Trace::Span& span) { return std::string(span.name) == "plan"; }),
            4);
}

TEST(Coordinator, ARefusedRequestIsToldWhenToComeAgain) {
  SchedulerLimits limits = Limits();
  limits.max_queue = 1;
  Coordinator coordinator(
      limits, true, [](const StepPlan&) {}, Count);
  ASSERT_TRUE(coordinator.Submit(Request(3, 4), [](const TokenEvent&) {}).ok());
  const absl::Status refused = coordinator.Submit(Request(3, 4), [](const TokenEvent&) {}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_EQ(RetryAfterOf(refused), CompletionRate::kUnknown);
}

TEST(Coordinator, OneThatWaitedTooLongIsToldWhenToComeAgain) {
  SchedulerLimits limits = Limits();
  limits.max_sequences = 1;
  Coordinator coordinator(
      limits, true, [](const StepPlan&) {},
      [](const StepPlan& plan) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return Count(plan);
      });
  ASSERT_TRUE(coordinator.Submit(Request(3, 50), [](const TokenEvent&) {}).ok());
  GenerateRequest hurried = Request(3, 1);
  hurried.queue_deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  absl::Status told;
  ASSERT_TRUE(coordinator.Submit(hurried, [&](const TokenEvent& e) { told = e.status; }).ok());
  coordinator.Drain();
  EXPECT_TRUE(coordinator.Run().ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(told));
  EXPECT_TRUE(RetryAfterOf(told).has_value());
}

// The engine takes the next plan before it has answered the last.
TEST(Coordinator, APlanAheadIsSentBeforeTheAnswersAreTaken) {
  SchedulerLimits limits = Limits();
  limits.plans_ahead = true;
  std::deque<StepPlan> begun;
  size_t most = 0;
  Coordinator coordinator(
      limits, true, [](const StepPlan&) {},
      [&](const StepPlan& plan) -> absl::StatusOr<StepResult> {
        begun.push_back(plan);
        most = std::max(most, begun.size());
        return StepResult();
      });
  coordinator.StepsRunAhead([&] {
    const StepPlan plan = begun.front();
    begun.pop_front();
    return Count(plan);
  });
  std::vector<int32_t> tokens;
  ASSERT_TRUE(
      coordinator.Submit(Request(3, 4), [&](const TokenEvent& e) { tokens.push_back(e.token); }).ok());
  coordinator.Drain();
  EXPECT_TRUE(coordinator.Run().ok());
  EXPECT_EQ(tokens, (std::vector<int32_t>{3, 4, 5, 6}));
  EXPECT_EQ(most, 2u);
  EXPECT_TRUE(begun.empty());
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

// A pipeline of two stages whose last one answers when it is told to.
class HeldPipeline {
 public:
  explicit HeldPipeline(bool run_ahead)
      : coordinator_(
            TwoInFlight(), false, [this](const StepPlan& plan) { Take(plan); }, Nothing) {
    if (run_ahead) coordinator_.StepsRunAhead(nullptr);
    thread_ = std::thread([this] { run_ = coordinator_.Run(); });
  }
  ~HeldPipeline() { CHECK(!thread_.joinable(), "End was called"); }

  Coordinator& coordinator() { return coordinator_; }
  // Waits until `count` plans are held.
  void WaitForPlans(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return plans_.size() >= count; });
  }
  size_t held() {
    std::lock_guard lock(mutex_);
    return plans_.size();
  }
  void AnswerFirst() {
    std::unique_lock lock(mutex_);
    const StepPlan plan = plans_.front();
    plans_.pop_front();
    lock.unlock();
    coordinator_.OnResult(*Count(plan));
  }
  absl::Status End() {
    thread_.join();
    return run_;
  }

 private:
  static SchedulerLimits TwoInFlight() {
    SchedulerLimits limits = Limits();
    limits.micro_batches = 2;
    return limits;
  }
  static absl::StatusOr<StepResult> Nothing(const StepPlan&) { return StepResult(); }
  void Take(const StepPlan& plan) {
    std::lock_guard lock(mutex_);
    plans_.push_back(plan);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StepPlan> plans_;
  Coordinator coordinator_;
  std::thread thread_;
  absl::Status run_;
};

// Whether a step's call returns when its work is done, or before.
class MicroBatches : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(, MicroBatches, testing::Bool(),
                         [](const auto& test) { return test.param ? "RunAhead" : "Done"; });

TEST_P(MicroBatches, TheSecondPlanDoesNotWaitForTheFirstAnswer) {
  HeldPipeline pipeline(GetParam());
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(pipeline.coordinator().Submit(Request(3, 2), [](const TokenEvent&) {}).ok());
  }
  pipeline.coordinator().Drain();
  int64_t answers = 0;
  pipeline.WaitForPlans(2);
  while (pipeline.coordinator().active_requests() > 0) {
    EXPECT_LE(pipeline.held(), 2u);
    if (pipeline.held() == 0) continue;
    pipeline.AnswerFirst();
    ++answers;
  }
  EXPECT_TRUE(pipeline.End().ok());
  EXPECT_GE(answers, 4);  // two tokens of two groups
}

// Blocks are given back when the plans that use them have been answered, not before.
TEST_P(MicroBatches, StopWaitsForThePlansInFlight) {
  HeldPipeline pipeline(GetParam());
  std::atomic<int> cancelled{0};
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(pipeline.coordinator()
                    .Submit(Request(3, 1000),
                            [&](const TokenEvent& e) { cancelled += e.finish == FinishReason::kCancelled; })
                    .ok());
  }
  pipeline.WaitForPlans(2);
  pipeline.coordinator().Stop();
  const int64_t held = Limits().blocks - pipeline.coordinator().free_blocks();
  EXPECT_GT(held, 0);
  pipeline.AnswerFirst();
  pipeline.AnswerFirst();
  EXPECT_TRUE(pipeline.End().ok());
  EXPECT_EQ(cancelled, 4);
  EXPECT_EQ(pipeline.coordinator().free_blocks(), Limits().blocks);
}

TEST_P(MicroBatches, AFailureEndsEveryRequestOnce) {
  HeldPipeline pipeline(GetParam());
  std::atomic<int> failed{0};
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(pipeline.coordinator()
                    .Submit(Request(3, 1000), [&](const TokenEvent& e) { failed += e.status.ok() ? 0 : 1; })
                    .ok());
  }
  pipeline.WaitForPlans(2);
  pipeline.coordinator().OnFailure(absl::UnavailableError("rank 1 failed"));
  EXPECT_TRUE(absl::IsUnavailable(pipeline.End()));
  EXPECT_EQ(failed, 4);
  EXPECT_EQ(pipeline.coordinator().free_blocks(), Limits().blocks);
  pipeline.AnswerFirst();  // too late, and harmless
}

// As when the step waits for a lost rank inside MPI.
TEST(Coordinator, ALossEndsRequestsWhileAStepNeverReturns) {
  std::mutex mutex;
  std::condition_variable changed;
  bool in_step = false;
  bool may_return = false;
  const auto step = [&](const StepPlan&) -> absl::StatusOr<StepResult> {
    std::unique_lock lock(mutex);
    in_step = true;
    changed.notify_all();
    changed.wait(lock, [&] { return may_return; });
    return StepResult();
  };
  Coordinator coordinator(
      Limits(), false, [](const StepPlan&) {}, step);
  std::vector<absl::Status> ends;
  ASSERT_TRUE(
      coordinator.Submit(Request(3, 1000), [&](const TokenEvent& e) { ends.push_back(e.status); }).ok());
  std::thread engine([&] { EXPECT_TRUE(absl::IsUnavailable(coordinator.Run())); });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return in_step; });
  }
  EXPECT_FALSE(coordinator.failed());
  coordinator.OnFailure(absl::UnavailableError("rank 1 was lost"));
  coordinator.TellFailure();
  EXPECT_TRUE(coordinator.failed());
  EXPECT_EQ(ends, std::vector<absl::Status>{absl::UnavailableError("rank 1 was lost")});
  EXPECT_EQ(coordinator.Ready(), absl::UnavailableError("rank 1 was lost"));
  EXPECT_TRUE(absl::IsUnavailable(coordinator.Submit(Request(3, 4), [](const TokenEvent&) {}).status()));
  {
    const std::lock_guard lock(mutex);
    may_return = true;
    changed.notify_all();
  }
  engine.join();
  EXPECT_EQ(ends.size(), 1u) << "what ended is told once";
}

// What MPI moves only within calls is moved on while the loop has nothing else to do.
TEST(Coordinator, MovesMessagesOnUntilTheyHaveLeft) {
  std::atomic<int> looks{0};
  std::atomic<bool> left{false};
  std::deque<StepPlan> sent;
  std::unique_ptr<Coordinator> coordinator;
  // The answer comes when the message has left, as from a rank that receives it.
  const auto progress = [&]() -> absl::StatusOr<bool> {
    if (++looks < 5) return true;
    if (!left.exchange(true)) coordinator->OnResult(*Count(sent.front()));
    return false;
  };
  coordinator = std::make_unique<Coordinator>(
      Limits(), false, [&](const StepPlan& plan) { sent.push_back(plan); },
      [](const StepPlan&) -> absl::StatusOr<StepResult> { return StepResult(); }, progress);
  ASSERT_TRUE(coordinator->Submit(Request(3, 1), [](const TokenEvent&) {}).ok());
  coordinator->Drain();
  EXPECT_TRUE(coordinator->Run().ok());
  EXPECT_GE(looks, 5);
}

}  // namespace
}  // namespace ternion
