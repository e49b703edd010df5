// What the scheduler does with KV blocks: shares, copies, takes and gives them back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/serving/scheduler.h"

namespace ternion {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

SchedulerLimits Limits(int64_t blocks) {
  SchedulerLimits limits;
  limits.max_model_len = 512;
  limits.max_batch_tokens = 256;
  limits.max_sequences = 8;
  limits.blocks = blocks;
  limits.vocab = 10000;
  return limits;
}

// A prompt of tokens first, first + 1, ...
GenerateRequest Request(int64_t prompt, int64_t max_tokens, int32_t first = 1) {
  GenerateRequest request;
  for (int64_t i = 0; i < prompt; ++i) request.prompt.push_back(first + static_cast<int32_t>(i));
  request.max_tokens = max_tokens;
  return request;
}

// A scheduler whose requests record what they are told.
class Served {
 public:
  explicit Served(const SchedulerLimits& limits) : scheduler_(limits) {}

  uint64_t Submit(GenerateRequest request) {
    const auto id = scheduler_.Submit(
        std::move(request), [this, n = ++sent_](const TokenEvent& event) { events_[n].push_back(event); });
    EXPECT_TRUE(id.ok()) << id.status();
    return *id;
  }
  std::optional<StepPlan> Plan() { return scheduler_.PlanStep(); }
  // Every sequence that samples gets `token`, every one that scores 1 a target.
  void Answer(const StepPlan& plan, int32_t token = 9) {
    StepResult result;
    result.step = plan.step;
    for (const StepSequence& s : plan.sequences) {
      if (!s.sample && s.targets.empty()) continue;
      result.sequences.emplace_back();
      result.sequences.back().id = s.id;
      result.sequences.back().token = s.sample ? token : -1;
      result.sequences.back().negative_log_likelihood = static_cast<double>(s.targets.size());
    }
    for (const Scheduler::Notice& notice : scheduler_.Commit(result)) (*notice.sink)(notice.event);
  }
  StepPlan PlanAndAnswer(int32_t token = 9) {
    std::optional<StepPlan> plan = Plan();
    EXPECT_TRUE(plan.has_value());
    if (!plan.has_value()) return {};
    Answer(*plan, token);
    return *std::move(plan);
  }
  // Until nothing is left to do.
  void RunAll() {
    while (auto plan = Plan()) Answer(*plan);
  }
  // Of the n-th request, from 1.
  const std::vector<TokenEvent>& events(int n) { return events_[n]; }
  Scheduler& scheduler() { return scheduler_; }
  SchedulerStats stats() const { return scheduler_.stats(); }

 private:
  Scheduler scheduler_;
  int sent_ = 0;
  std::map<int, std::vector<TokenEvent>> events_;
};

std::vector<uint64_t> Ids(const StepPlan& plan) {
  std::vector<uint64_t> ids;
  for (const StepSequence& s : plan.sequences) ids.push_back(s.id);
  return ids;
}

TEST(PrefixCache, SharesWholeBlocksAndCopiesThePartBehindThem) {
  Served served(Limits(16));
  served.Submit(Request(200, 1));
  const StepPlan first = served.PlanAndAnswer();
  GenerateRequest second = Request(170, 2);
  second.prompt[150] = 5000;
  served.Submit(second);
  const StepPlan plan = served.PlanAndAnswer();
  ASSERT_EQ(plan.sequences.size(), 1u);
  const StepSequence& s = plan.sequences[0];
  EXPECT_EQ(s.position, 150);
  EXPECT_EQ(s.tokens.size(), 20u);
  EXPECT_EQ(s.tokens[0], 5000);
  ASSERT_EQ(plan.copies.size(), 1u);
  EXPECT_EQ(plan.copies[0].from, first.sequences[0].block_table[2]);
  EXPECT_EQ(plan.copies[0].to, s.block_table[2]);
  EXPECT_THAT(s.block_table, ElementsAre(first.sequences[0].block_table[0], first.sequences[0].block_table[1],
                                         plan.copies[0].to));
  EXPECT_EQ(served.events(1)[0].cached_tokens, 0);
  EXPECT_EQ(served.events(2)[0].cached_tokens, 150);
  served.PlanAndAnswer();
  EXPECT_EQ(served.events(2)[1].cached_tokens, 0) << "told with the first token alone";
  const SchedulerStats stats = served.stats();
  EXPECT_EQ(stats.prefix_query_tokens, 200 + 170);
  EXPECT_EQ(stats.prefix_hit_tokens, 150);
  EXPECT_EQ(stats.block_copies, 1);
}

TEST(PrefixCache, ComputesOneTokenOfThePromptAtLeast) {
  Served served(Limits(16));
  served.Submit(Request(128, 1));
  served.RunAll();
  served.Submit(Request(128, 1));
  const StepPlan plan = served.PlanAndAnswer();
  EXPECT_EQ(plan.sequences[0].position, 127);
  EXPECT_EQ(plan.copies.size(), 1u);
  EXPECT_EQ(served.scheduler().free_blocks(), 16);
}

TEST(PrefixCache, GeneratedTokensAreFoundToo) {
  Served served(Limits(16));
  served.Submit(Request(60, 10));
  while (auto plan = served.Plan()) served.Answer(*plan, 77);
  GenerateRequest next = Request(60, 1);
  next.prompt.insert(next.prompt.end(), 10, 77);
  next.prompt.push_back(5000);
  served.Submit(next);
  EXPECT_EQ(served.PlanAndAnswer().sequences[0].position, 64) << "5 are in a block that is not worth a copy";
}

TEST(PrefixCache, WhatTellsOfEveryPositionTakesNoHitsButLeavesBlocks) {
  Served served(Limits(16));
  GenerateRequest scored = Request(100, 1);
  scored.score_targets = scored.prompt;
  GenerateRequest told = Request(100, 1);
  told.prompt_logprobs = 2;
  served.Submit(scored);
  EXPECT_EQ(served.PlanAndAnswer().sequences[0].position, 0);
  served.Submit(told);
  EXPECT_EQ(served.PlanAndAnswer().sequences[0].position, 0);
  EXPECT_EQ(served.stats().prefix_query_tokens, 0);
  served.Submit(Request(100, 1));
  EXPECT_EQ(served.PlanAndAnswer().sequences[0].position, 99);
}

TEST(PrefixCache, CanBeSwitchedOff) {
  SchedulerLimits limits = Limits(16);
  limits.prefix_caching = false;
  Served served(limits);
  served.Submit(Request(100, 1));
  served.RunAll();
  served.Submit(Request(100, 1));
  EXPECT_EQ(served.PlanAndAnswer().sequences[0].position, 0);
}

TEST(PrefixCache, BlocksThatWereTakenSinceAreNotFound) {
  Served served(Limits(4));
  served.Submit(Request(128, 1));
  served.RunAll();
  served.Submit(Request(256, 1, 2000));
  served.RunAll();
  served.Submit(Request(128, 1));
  EXPECT_EQ(served.PlanAndAnswer().sequences[0].position, 0);
}

// The choices of a prompt come one after the other; all but the first wait until it is planned, and read it then.
TEST(PrefixCache, ChoicesComputeTheirPromptOnce) {
  Served served(Limits(16));
  for (int i = 0; i < 4; ++i) served.Submit(Request(100, 3));
  const auto first = served.Plan();
  ASSERT_TRUE(first.has_value());
  EXPECT_THAT(Ids(*first), ElementsAre(1));
  EXPECT_THAT(first->copies, IsEmpty());
  served.Answer(*first);
  const StepPlan second = served.PlanAndAnswer();
  EXPECT_THAT(Ids(second), ElementsAre(1, 2, 3, 4));
  ASSERT_EQ(second.copies.size(), 3u);
  for (size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(second.sequences[i].position, 99);
    EXPECT_EQ(second.sequences[i].block_table[0], second.sequences[0].block_table[0]);
    EXPECT_EQ(second.sequences[i].block_table[1], second.copies[i - 1].to);
    EXPECT_EQ(second.copies[i - 1].from, second.sequences[0].block_table[1]);
  }
  EXPECT_EQ(served.stats().used_blocks, 1 + 4);
}

// A prompt in chunks: what begins like it waits for as much as both have in common, and no longer. Others do not wait.
TEST(PrefixCache, WaitsForACommonBeginningThatIsBeingComputed) {
  SchedulerLimits limits = Limits(32);
  limits.max_batch_tokens = 100;
  Served served(limits);
  served.Submit(Request(190, 1));
  GenerateRequest alike = Request(160, 1);
  alike.prompt[90] = 5000;
  EXPECT_THAT(Ids(served.PlanAndAnswer()), ElementsAre(1));
  served.Submit(alike);
  served.Submit(Request(5, 1, 2000));
  const StepPlan second = served.PlanAndAnswer();
  EXPECT_THAT(Ids(second), ElementsAre(1, 2));
  EXPECT_EQ(second.sequences[1].position, 90);

  Served others(limits);
  others.Submit(Request(60, 1));
  others.Submit(Request(60, 1));
  others.Submit(Request(5, 1, 2000));
  EXPECT_THAT(Ids(others.PlanAndAnswer()), ElementsAre(1, 3));
  EXPECT_THAT(Ids(others.PlanAndAnswer()), ElementsAre(2));
}

TEST(Blocks, AreTakenAsASequenceGrows) {
  Served served(Limits(16));
  served.Submit(Request(63, 70));
  served.PlanAndAnswer();
  EXPECT_EQ(served.stats().used_blocks, 1);
  served.PlanAndAnswer();
  EXPECT_EQ(served.stats().used_blocks, 1);
  served.PlanAndAnswer();
  EXPECT_EQ(served.stats().used_blocks, 2);
}

// One block in a hundred stays free beside what those that run need next.
TEST(Admission, LeavesRoomForThoseThatRun) {
  Served served(Limits(4));
  served.Submit(Request(64, 60));
  served.PlanAndAnswer();
  served.Submit(Request(65, 5, 2000));
  EXPECT_THAT(Ids(served.PlanAndAnswer()), ElementsAre(1))
      << "1 + 1 needed at once, 1 left free: 1 for the next";
  served.Submit(Request(30, 5, 4000));
  EXPECT_THAT(Ids(served.PlanAndAnswer()), ElementsAre(1)) << "it does not overtake";
}

// Two sequences have two of 4 blocks each when the first needs a third: the other one gives its own back, and later goes
// on where it was.
TEST(Preemption, TheOneThatCameLastGivesItsBlocksBack) {
  SchedulerLimits limits = Limits(4);
  Served served(limits);
  served.Submit(Request(60, 140));
  served.Submit(Request(62, 130, 2000));
  while (served.stats().preemptions == 0) ASSERT_FALSE(served.PlanAndAnswer().sequences.empty());
  EXPECT_EQ(served.stats().running, 1);
  EXPECT_EQ(served.stats().waiting, 1);
  const size_t told = served.events(2).size();
  EXPECT_GT(told, 0u);
  std::optional<StepPlan> resumed;
  while (auto plan = served.Plan()) {
    if (plan->sequences.back().id == 2 && !resumed.has_value()) resumed = plan;
    served.Answer(*plan);
  }
  ASSERT_TRUE(resumed.has_value());
  const StepSequence& again = resumed->sequences.back();
  EXPECT_EQ(again.position + static_cast<int64_t>(again.tokens.size()), 62 + static_cast<int64_t>(told));
  EXPECT_TRUE(again.sample);
  EXPECT_EQ(again.sample_index, 62 + static_cast<int64_t>(told)) << "the draw it would have had";
  EXPECT_EQ(again.tokens.back(), 9);
  EXPECT_EQ(served.events(1).size(), 140u);
  EXPECT_EQ(served.events(2).size(), 130u);
  EXPECT_EQ(served.events(2).front().cached_tokens, 0);
  EXPECT_EQ(served.scheduler().free_blocks(), 4);
}

TEST(Preemption, TheLowestPriorityGoesFirst) {
  Served served(Limits(4));
  GenerateRequest low = Request(60, 100);
  low.priority = 1;
  served.Submit(low);
  served.Submit(Request(60, 100, 2000));
  while (served.stats().preemptions == 0) ASSERT_FALSE(served.PlanAndAnswer().sequences.empty());
  EXPECT_THAT(Ids(served.PlanAndAnswer()), ElementsAre(2));
}

// Blocks stay in the cache while nobody needs them, so that what was preempted need not be computed again.
TEST(Preemption, FindsItsBlocksAgain) {
  Served served(Limits(4));
  served.Submit(Request(60, 80));
  served.Submit(Request(60, 100, 2000));
  while (served.stats().preemptions == 0) ASSERT_FALSE(served.PlanAndAnswer().sequences.empty());
  while (served.events(1).size() < 80) ASSERT_FALSE(served.PlanAndAnswer().sequences.empty());
  const StepPlan resumed = served.PlanAndAnswer();
  EXPECT_THAT(Ids(resumed), ElementsAre(2));
  EXPECT_GE(resumed.sequences[0].position, 64);
}

// A token that a plan in flight draws is taken although its sequence has no blocks any more.
TEST(Preemption, AwaitedTokensAreTaken) {
  SchedulerLimits limits = Limits(4);
  limits.plans_ahead = true;
  Served served(limits);
  served.Submit(Request(60, 140));
  served.Submit(Request(62, 130, 2000));
  std::deque<StepPlan> in_flight;
  while (served.scheduler().running() + served.scheduler().waiting() > 0) {
    auto plan = served.scheduler().CanPlan() ? served.Plan() : std::nullopt;
    if (plan.has_value()) {
      in_flight.push_back(*std::move(plan));
      continue;
    }
    ASSERT_FALSE(in_flight.empty());
    served.Answer(in_flight.front());
    in_flight.pop_front();
  }
  EXPECT_GT(served.stats().preemptions, 0);
  EXPECT_EQ(served.events(1).size(), 140u);
  EXPECT_EQ(served.events(2).size(), 130u);
}

// One that a plan in flight holds, and that ends by its answer, is not computed again.
TEST(Preemption, MayEndWhileItWaits) {
  SchedulerLimits limits = Limits(3);
  limits.micro_batches = 2;
  Served served(limits);
  GenerateRequest last = Request(20, 9, 2000);
  last.stop_ids = {55};
  served.Submit(Request(64, 100));
  served.Submit(last);
  const auto a = served.Plan();
  const auto b = served.Plan();
  ASSERT_TRUE(a.has_value() && b.has_value());
  EXPECT_THAT(Ids(*b), ElementsAre(2));
  served.Answer(*a);
  // When it needs a third block.
  for (int i = 0; i < 65; ++i) served.PlanAndAnswer();
  EXPECT_EQ(served.stats().preemptions, 1);
  served.Answer(*b, 55);
  ASSERT_EQ(served.events(2).size(), 1u);
  EXPECT_EQ(served.events(2)[0].finish, FinishReason::kStop);
  EXPECT_EQ(served.scheduler().waiting(), 0);
  served.RunAll();
  EXPECT_EQ(served.scheduler().free_blocks(), 3);
}

// What was scored before counts once: here 68 of 128 tokens were when the other one needs its third block.
TEST(Preemption, AScoreStartsAgain) {
  SchedulerLimits limits = Limits(4);
  limits.max_batch_tokens = 2;
  Served served(limits);
  GenerateRequest scored = Request(128, 1, 2000);
  scored.score_targets = scored.prompt;
  served.Submit(Request(60, 80));
  served.Submit(scored);
  served.RunAll();
  EXPECT_EQ(served.stats().preemptions, 1);
  ASSERT_EQ(served.events(2).size(), 1u);
  EXPECT_EQ(served.events(2)[0].negative_log_likelihood, 128);
}

// Nor does it begin before the answers that are on their way have come.
TEST(Preemption, AScoreWaitsForItsPlansInFlight) {
  SchedulerLimits limits = Limits(3);
  limits.micro_batches = 2;
  Served served(limits);
  GenerateRequest scored = Request(64, 1, 2000);
  scored.score_targets = scored.prompt;
  const uint64_t first = served.Submit(Request(64, 100));
  served.Submit(scored);
  const auto a = served.Plan();
  const auto b = served.Plan();
  ASSERT_TRUE(a.has_value() && b.has_value());
  EXPECT_THAT(Ids(*b), ElementsAre(2));
  served.Answer(*a);
  while (served.stats().preemptions == 0) ASSERT_FALSE(served.PlanAndAnswer().sequences.empty());
  served.scheduler().Cancel(first);
  EXPECT_FALSE(served.Plan().has_value());
  served.Answer(*b);
  EXPECT_TRUE(served.events(2).empty());
  served.RunAll();
  ASSERT_EQ(served.events(2).size(), 1u);
  EXPECT_EQ(served.events(2)[0].negative_log_likelihood, 64);
}

// A prompt that goes first gets the blocks of one that decodes, although decoding ones are planned first.
TEST(Preemption, TakesOneOutOfThePlanInTheMaking) {
  SchedulerLimits limits = Limits(6);
  limits.max_batch_tokens = 3;
  Served served(limits);
  GenerateRequest low = Request(60, 200);
  low.priority = 1;
  served.Submit(low);
  for (int i = 0; i < 20; ++i) served.PlanAndAnswer();
  served.Submit(Request(250, 2, 2000));
  while (served.stats().preemptions == 0) {
    const StepPlan plan = served.PlanAndAnswer();
    EXPECT_EQ(plan.sequences.size(), served.stats().preemptions == 0 ? 2u : 1u);
    EXPECT_EQ(plan.sequences.back().id, 2u);
  }
  served.RunAll();
  EXPECT_EQ(served.events(1).size(), 200u);
  EXPECT_EQ(served.events(2).size(), 2u);
}

// However few blocks there are, all that can fit alone ends.
TEST(Preemption, EverySequenceEnds) {
  SchedulerLimits limits = Limits(4);
  limits.micro_batches = 2;
  Served served(limits);
  for (int i = 0; i < 12; ++i) {
    GenerateRequest request = Request(30 + 5 * i, 100, 100 * i + 10);
    request.priority = i % 3;
    served.Submit(request);
  }
  std::deque<StepPlan> in_flight;
  for (int acts = 0; served.scheduler().running() + served.scheduler().waiting() > 0; ++acts) {
    ASSERT_LT(acts, 100'000);
    auto plan = served.scheduler().CanPlan() ? served.Plan() : std::nullopt;
    if (plan.has_value()) {
      in_flight.push_back(*std::move(plan));
      continue;
    }
    served.Answer(in_flight.front());
    in_flight.pop_front();
  }
  EXPECT_GT(served.stats().preemptions, 0);
  for (int n = 1; n <= 12; ++n) EXPECT_EQ(served.events(n).size(), 100u);
}

}  // namespace
}  // namespace ternion
