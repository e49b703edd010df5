// Random traffic against a model that knows what every cache position was computed from (tests/support/token_model.h): every
// request gets its tokens once and in order, nothing is read that is not there, and all blocks come back.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>

#include "runtime/serving/scheduler.h"
#include "tests/support/random_traffic.h"
#include "tests/support/token_model.h"

namespace ternion {
namespace {

constexpr int64_t kLongestPrompt = 100;
constexpr int64_t kMostGenerated = 150;

SchedulerLimits AnyLimits(std::mt19937& random) {
  const auto pick = [&](std::initializer_list<int64_t> values) {
    return *(values.begin() + random() % values.size());
  };
  SchedulerLimits limits;
  limits.max_model_len = 256;
  limits.max_batch_tokens = pick({1, 7, 40, 100, 300});
  limits.max_sequences = pick({1, 4, 12, 40});
  limits.max_queue = 1000;
  limits.blocks = pick({4, 5, 8, 20, 100});
  limits.vocab = 100;
  limits.micro_batches = static_cast<int>(pick({1, 1, 2, 3}));
  limits.plans_ahead = limits.micro_batches == 1 && pick({0, 1}) == 1;
  limits.prefix_caching = pick({0, 1, 1}) == 1;
  limits.least_share = pick({1, 64});
  return limits;
}

struct Stream {
  std::vector<int32_t> want;  // all that will come, unless it is cancelled
  double want_score = 0;
  size_t want_prompt_logprobs = 0;
  size_t tokens = 0;
  int ends = 0;
  bool cancelled = false;

  void Take(const TokenEvent& event) {
    EXPECT_EQ(ends, 0) << "an event after the last";
    ends += event.finish.has_value() ? 1 : 0;
    cancelled = event.finish == FinishReason::kCancelled;
    if (event.finish.has_value() && !cancelled) {
      EXPECT_EQ(event.negative_log_likelihood, want_score);
    }
    if (event.token < 0) return;
    EXPECT_EQ(event.prompt_logprobs.size(), tokens == 0 ? want_prompt_logprobs : 0);
    ASSERT_LT(tokens, want.size());
    EXPECT_EQ(event.token, want[tokens++]);
  }
};

// Sends requests to a scheduler, cancels some and runs its plans, all at random moments.
class Round {
 public:
  explicit Round(uint32_t seed)
      : random_(seed),
        scheduler_(AnyLimits(random_)),
        model_(scheduler_.limits().blocks),
        traffic_(RandomTraffic(seed, 100, kLongestPrompt, kMostGenerated).Make(60)) {}

  void Run() {
    for (int64_t acts = 0; !Done(); ++acts) {
      ASSERT_LT(acts, 1'000'000) << "it goes on for ever";
      const uint32_t act = random_() % 64;
      if (act < 8) {
        Submit();
      } else if (act == 8 && !streams_.empty()) {
        Tell(scheduler_.Cancel(1 + random_() % streams_.size()));
      } else if (act < 40 && scheduler_.CanPlan()) {
        if (auto plan = scheduler_.PlanStep()) in_flight_.push_back(*std::move(plan));
      } else if (!in_flight_.empty()) {
        Commit();
      }
    }
  }
  void Check() const {
    EXPECT_EQ(model_.wrong_reads(), 0);
    EXPECT_EQ(scheduler_.free_blocks(), scheduler_.limits().blocks);
    EXPECT_EQ(scheduler_.in_flight(), 0);
    for (const auto& stream : streams_) {
      EXPECT_EQ(stream->ends, 1);
      EXPECT_TRUE(stream->cancelled || stream->tokens == stream->want.size());
    }
  }
  SchedulerStats stats() const { return scheduler_.stats(); }

 private:
  bool Done() const {
    return sent_ == traffic_.size() && scheduler_.running() + scheduler_.waiting() == 0 && in_flight_.empty();
  }

  void Submit() {
    if (sent_ == traffic_.size()) return;
    GenerateRequest request = traffic_[sent_++].request;
    request.ignore_eos = true;
    auto stream = std::make_shared<Stream>();
    stream->want_score = static_cast<double>(request.score_targets.size());
    if (request.prompt_logprobs >= 0) stream->want_prompt_logprobs = request.prompt.size() - 1;
    std::vector<int32_t> tokens = request.prompt;
    for (int64_t i = 0; request.score_targets.empty() && i < request.max_tokens; ++i) {
      stream->want.push_back(model_.Next(tokens));
      tokens.push_back(stream->want.back());
    }
    std::vector<int32_t> prompt = request.prompt;
    const auto id =
        scheduler_.Submit(std::move(request), [stream](const TokenEvent& event) { stream->Take(event); });
    ASSERT_TRUE(id.ok()) << id.status();
    model_.Expect(*id, std::move(prompt));
    streams_.push_back(std::move(stream));
  }

  void Commit() {
    const StepResult result = model_.Run(in_flight_.front());
    in_flight_.pop_front();
    for (const Scheduler::Notice& notice : scheduler_.Commit(result)) (*notice.sink)(notice.event);
  }
  static void Tell(const std::optional<Scheduler::Notice>& notice) {
    if (notice.has_value()) (*notice->sink)(notice->event);
  }

  std::mt19937 random_;
  Scheduler scheduler_;
  TokenModel model_;
  std::vector<TrafficRequest> traffic_;
  size_t sent_ = 0;
  std::deque<StepPlan> in_flight_;
  std::vector<std::shared_ptr<Stream>> streams_;  // by id - 1
};

TEST(SchedulerTraffic, LosesRepeatsAndMixesUpNothing) {
  SchedulerStats totals;
  for (uint32_t seed = 0; seed < 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Round round(seed);
    round.Run();
    round.Check();
    totals.preemptions += round.stats().preemptions;
    totals.block_copies += round.stats().block_copies;
    totals.prefix_hit_tokens += round.stats().prefix_hit_tokens;
  }
  EXPECT_GT(totals.preemptions, 300);
  EXPECT_GT(totals.block_copies, 1000);
  EXPECT_GT(totals.prefix_hit_tokens, 100'000);
}

}  // namespace
}  // namespace ternion
