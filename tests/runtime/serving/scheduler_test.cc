#include "runtime/serving/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace ternion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SchedulerLimits Limits() {
  SchedulerLimits limits;
  limits.max_model_len = 256;
  limits.max_batch_tokens = 32;
  limits.max_sequences = 4;
  limits.max_queue = 8;
  limits.blocks = 16;
  limits.prefix_caching = false;
  limits.vocab = 100;
  limits.eos_ids = {2};
  return limits;
}

GenerateRequest Request(int64_t prompt, int64_t max_tokens) {
  GenerateRequest request;
  request.prompt.assign(prompt, 7);
  request.max_tokens = max_tokens;
  return request;
}

TokenSink Ignore() {
  return [](const TokenEvent&) {};
}

// What a model would answer: `token` for every sequence that samples.
StepResult Answer(const StepPlan& plan, int32_t token) {
  StepResult result;
  result.step = plan.step;
  for (const StepSequence& s : plan.sequences) {
    if (s.sample || !s.targets.empty()) result.sequences.push_back({s.id, s.sample ? token : -1, 0, 0});
  }
  return result;
}

std::vector<size_t> TokenCounts(const StepPlan& plan) {
  std::vector<size_t> counts;
  for (const StepSequence& s : plan.sequences) counts.push_back(s.tokens.size());
  return counts;
}

TEST(Scheduler, RefusesWhatCanNeverRun) {
  Scheduler scheduler(Limits());
  const auto message = [&](GenerateRequest request) {
    return std::string(scheduler.Submit(std::move(request), Ignore()).status().message());
  };
  EXPECT_THAT(message(Request(0, 1)), HasSubstr("the prompt is empty"));
  EXPECT_THAT(message(Request(256, 1)), HasSubstr("256 tokens; the context of 256 holds at most 255"));
  EXPECT_THAT(message(Request(1, 0)), HasSubstr("max_tokens"));
  GenerateRequest outside = Request(1, 1);
  outside.prompt[0] = 100;
  EXPECT_THAT(message(outside), HasSubstr("token id 100 is outside the vocabulary of 100"));
  SchedulerLimits few = Limits();
  few.blocks = 1;
  EXPECT_THAT(std::string(Scheduler(few).Submit(Request(60, 100), Ignore()).status().message()),
              HasSubstr("needs 3 KV blocks"));
}

TEST(Scheduler, BoundsTheQueue) {
  Scheduler scheduler(Limits());
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(scheduler.Submit(Request(1, 1), Ignore()).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(scheduler.Submit(Request(1, 1), Ignore()).status()));
}

TEST(Scheduler, CutsPromptsToTheBudgetAndDecodesFirst) {
  Scheduler scheduler(Limits());
  ASSERT_TRUE(scheduler.Submit(Request(40, 3), Ignore()).ok());
  ASSERT_TRUE(scheduler.Submit(Request(30, 3), Ignore()).ok());
  const auto first = scheduler.PlanStep();
  EXPECT_THAT(TokenCounts(*first), ElementsAre(32));
  EXPECT_FALSE(first->sequences[0].sample);
  scheduler.Commit(Answer(*first, 9));
  const auto second = scheduler.PlanStep();
  EXPECT_THAT(TokenCounts(*second), ElementsAre(8, 24));
  EXPECT_TRUE(second->sequences[0].sample);
  EXPECT_EQ(second->sequences[0].position, 32);
  scheduler.Commit(Answer(*second, 9));
  const auto third = scheduler.PlanStep();
  EXPECT_THAT(TokenCounts(*third), ElementsAre(1, 6));
  EXPECT_EQ(third->sequences[0].tokens[0], 9);
}

TEST(Scheduler, EndsByEosStopIdLengthAndContext) {
  const auto finish = [](GenerateRequest request, int32_t token) {
    Scheduler scheduler(Limits());
    EXPECT_TRUE(scheduler.Submit(std::move(request), Ignore()).ok());
    std::optional<FinishReason> reason;
    int64_t tokens = 0;
    while (const auto plan = scheduler.PlanStep()) {
      for (const auto& notice : scheduler.Commit(Answer(*plan, token))) {
        ++tokens;
        reason = notice.event.finish;
      }
    }
    EXPECT_EQ(scheduler.free_blocks(), 16);
    return std::pair(reason, tokens);
  };
  EXPECT_EQ(finish(Request(3, 5), 2), std::pair(std::optional(FinishReason::kStop), int64_t{1}));
  EXPECT_EQ(finish(Request(3, 5), 9), std::pair(std::optional(FinishReason::kLength), int64_t{5}));
  EXPECT_EQ(finish(Request(250, 50), 9), std::pair(std::optional(FinishReason::kLength), int64_t{6}));
  GenerateRequest stop = Request(3, 5);
  stop.stop_ids = {9};
  EXPECT_EQ(finish(stop, 9), std::pair(std::optional(FinishReason::kStop), int64_t{1}));
  GenerateRequest ignore = Request(3, 4);
  ignore.ignore_eos = true;
  EXPECT_EQ(finish(ignore, 2), std::pair(std::optional(FinishReason::kLength), int64_t{4}));
}

TEST(Scheduler, APipelineHasDifferentSequencesInFlight) {
  SchedulerLimits limits = Limits();
  limits.micro_batches = 2;
  Scheduler scheduler(limits);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(scheduler.Submit(Request(2, 3), Ignore()).ok());
  const auto a = scheduler.PlanStep();
  const auto b = scheduler.PlanStep();
  EXPECT_EQ(a->sequences.size(), 2u);
  EXPECT_EQ(b->sequences.size(), 2u);
  EXPECT_NE(a->sequences[0].id, b->sequences[0].id);
  EXPECT_FALSE(scheduler.PlanStep().has_value());
  scheduler.Commit(Answer(*a, 9));
  EXPECT_EQ(scheduler.PlanStep()->sequences[0].id, a->sequences[0].id);
}

// A lone prompt goes in as many pieces as stages, so that they work at the same time; a short one stays whole.
TEST(Scheduler, MicroBatchesAreBalancedByTokens) {
  SchedulerLimits limits = Limits();
  limits.max_model_len = 2048;
  limits.max_batch_tokens = 512;
  limits.blocks = 64;
  limits.micro_batches = 2;
  const auto counts = [&](const std::vector<int64_t>& prompts) {
    Scheduler scheduler(limits);
    for (int64_t prompt : prompts) EXPECT_TRUE(scheduler.Submit(Request(prompt, 3), Ignore()).ok());
    std::vector<std::vector<size_t>> plans;
    while (const auto plan = scheduler.PlanStep()) plans.push_back(TokenCounts(*plan));
    return plans;
  };
  EXPECT_THAT(counts({400}), ElementsAre(ElementsAre(200), ElementsAre(200)));
  EXPECT_THAT(counts({1000}), ElementsAre(ElementsAre(500), ElementsAre(500)));
  EXPECT_THAT(counts({100}), ElementsAre(ElementsAre(64), ElementsAre(36)));
  EXPECT_THAT(counts({60}), ElementsAre(ElementsAre(60)));
  EXPECT_THAT(counts({10, 10, 10}), ElementsAre(ElementsAre(10, 10), ElementsAre(10)));
}

// What is left when sequences end unevenly is shared out anew.
TEST(Scheduler, MicroBatchesAreRebalanced) {
  SchedulerLimits limits = Limits();
  limits.max_sequences = 8;
  limits.micro_batches = 2;
  Scheduler scheduler(limits);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(scheduler.Submit(Request(2, 3), Ignore()).ok());
  const auto a = scheduler.PlanStep();
  const auto b = scheduler.PlanStep();
  ASSERT_EQ(b->sequences.size(), 4u);
  scheduler.Cancel(b->sequences[0].id);
  scheduler.Cancel(b->sequences[1].id);
  scheduler.Commit(Answer(*a, 9));
  const auto c = scheduler.PlanStep();
  scheduler.Commit(Answer(*b, 9));
  const auto d = scheduler.PlanStep();
  EXPECT_EQ(c->sequences.size(), 3u);
  EXPECT_EQ(d->sequences.size(), 3u);
}

TEST(Scheduler, ACancelledSequenceKeepsItsBlocksWhileAPlanHoldsIt) {
  Scheduler scheduler(Limits());
  const uint64_t id = *scheduler.Submit(Request(100, 3), Ignore());
  const auto plan = scheduler.PlanStep();
  const auto notice = scheduler.Cancel(id);
  ASSERT_TRUE(notice.has_value());
  EXPECT_EQ(notice->event.finish, FinishReason::kCancelled);
  EXPECT_EQ(scheduler.free_blocks(), 15);
  EXPECT_TRUE(scheduler.Commit(Answer(*plan, 9)).empty());
  EXPECT_EQ(scheduler.free_blocks(), 16);
  EXPECT_FALSE(scheduler.Cancel(id).has_value());
}

// The second plan goes on with what the first will draw, but not beyond the last token.
TEST(Scheduler, APlanAheadTakesWhatTheLastOneDraws) {
  SchedulerLimits limits = Limits();
  limits.plans_ahead = true;
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Submit(Request(2, 1), Ignore()).ok());
  const uint64_t second = *scheduler.Submit(Request(3, 3), Ignore());
  const auto a = scheduler.PlanStep();
  ASSERT_EQ(a->sequences.size(), 2u);
  ASSERT_TRUE(scheduler.CanPlan());
  const auto b = scheduler.PlanStep();
  ASSERT_EQ(b->sequences.size(), 1u);
  EXPECT_EQ(b->sequences[0].id, second);
  EXPECT_THAT(b->sequences[0].tokens, ElementsAre(~1));
  EXPECT_EQ(b->sequences[0].position, 3);
  EXPECT_EQ(b->sequences[0].sample_index, 4);
  EXPECT_FALSE(scheduler.CanPlan());
  scheduler.Commit(Answer(*a, 9));
  const auto c = scheduler.PlanStep();
  EXPECT_THAT(c->sequences[0].tokens, ElementsAre(~0));
  EXPECT_EQ(c->sequences[0].position, 4);
  EXPECT_EQ(scheduler.Commit(Answer(*b, 9)).size(), 1u);
  EXPECT_FALSE(scheduler.PlanStep().has_value());
  const auto last = scheduler.Commit(Answer(*c, 9));
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].event.finish, FinishReason::kLength);
  EXPECT_EQ(scheduler.free_blocks(), 16);
}

// What a sequence does after its end is told to nobody, and its blocks stay until then.
TEST(Scheduler, APlanAheadOfAnEndIsThrownAway) {
  SchedulerLimits limits = Limits();
  limits.plans_ahead = true;
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Submit(Request(3, 9), Ignore()).ok());
  const auto a = scheduler.PlanStep();
  const auto b = scheduler.PlanStep();
  ASSERT_TRUE(b.has_value());
  const auto end = scheduler.Commit(Answer(*a, 2));
  ASSERT_EQ(end.size(), 1u);
  EXPECT_EQ(end[0].event.finish, FinishReason::kStop);
  EXPECT_LT(scheduler.free_blocks(), 16);
  EXPECT_FALSE(scheduler.PlanStep().has_value());
  EXPECT_TRUE(scheduler.Commit(Answer(*b, 9)).empty());
  EXPECT_EQ(scheduler.free_blocks(), 16);
}

// Nothing is ahead of whole logits, which the host waits for, nor of scores, which are not drawn.
TEST(Scheduler, NoPlanIsAheadOfHashesAndScores) {
  SchedulerLimits limits = Limits();
  limits.plans_ahead = true;
  GenerateRequest hashed = Request(3, 3), scored = Request(3, 3);
  hashed.hash_logits = true;
  scored.score_targets = {1, 2, 3};
  Scheduler one(limits), two(limits);
  ASSERT_TRUE(one.Submit(hashed, Ignore()).ok());
  ASSERT_TRUE(one.PlanStep().has_value());
  EXPECT_FALSE(one.PlanStep().has_value());
  ASSERT_TRUE(two.Submit(scored, Ignore()).ok());
  ASSERT_TRUE(two.Submit(Request(3, 3), Ignore()).ok());
  ASSERT_TRUE(two.PlanStep().has_value());
  EXPECT_FALSE(two.PlanStep().has_value());
}

// Random traffic: every request gets its tokens once and in order, and all blocks come back.
TEST(Scheduler, LosesAndRepeatsNothing) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    SchedulerLimits limits = Limits();
    limits.micro_batches = 1 + round % 3;
    limits.max_batch_tokens = 1 + static_cast<int64_t>(random() % 40);
    limits.max_queue = 1000;
    limits.plans_ahead = limits.micro_batches == 1 && round % 2 == 1;
    Scheduler scheduler(limits);
    std::map<uint64_t, int64_t> want;
    std::map<uint64_t, int64_t> got;
    std::map<uint64_t, int64_t> cached;
    std::deque<StepPlan> in_flight;
    for (int i = 0; i < 30; ++i) {
      const auto max_tokens = static_cast<int64_t>(1 + random() % 6);
      want[*scheduler.Submit(Request(1 + random() % 100, max_tokens), Ignore())] = max_tokens;
    }
    while (true) {
      if (auto plan = scheduler.CanPlan() ? scheduler.PlanStep() : std::nullopt) {
        EXPECT_LE(plan->tokens(), limits.max_batch_tokens);
        for (const StepSequence& s : plan->sequences) {
          EXPECT_EQ(s.position, cached[s.id]);
          cached[s.id] += static_cast<int64_t>(s.tokens.size());
          EXPECT_GE(static_cast<int64_t>(s.block_table.size()), BlocksFor(cached[s.id]));
          got[s.id] += s.sample ? 1 : 0;
        }
        in_flight.push_back(*std::move(plan));
        continue;
      }
      if (in_flight.empty()) break;
      scheduler.Commit(Answer(in_flight.front(), 9));
      in_flight.pop_front();
    }
    EXPECT_EQ(want, got);
    EXPECT_EQ(scheduler.free_blocks(), limits.blocks);
    EXPECT_EQ(scheduler.running() + scheduler.waiting(), 0);
  }
}

}  // namespace
}  // namespace ternion
