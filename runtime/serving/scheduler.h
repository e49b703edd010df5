#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cache/block_pool.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/serving/request.h"
#include "runtime/serving/scheduler_limits.h"
#include "runtime/serving/sequences.h"
#include "runtime/serving/step_plan.h"

namespace ternion {

// What the scheduler does, for metrics.
struct SchedulerStats {
  int64_t running = 0;
  int64_t waiting = 0;
  int64_t blocks = 0;       // KV blocks
  int64_t used_blocks = 0;  // of them, those that running sequences hold
  // Since the start.
  int64_t prefix_query_tokens = 0;  // of prompts that were looked up in the prefix cache
  int64_t prefix_hit_tokens = 0;    // of these, found
  int64_t block_copies = 0;         // parts of blocks that were found
  int64_t preemptions = 0;
};

// Decides which tokens run in which step: continuous batching, lower priority and then first come first served.
//
// KV blocks are taken as sequences grow. A request is admitted when there is room for all its tokens so far beside what
// those that run still need at once, and one block in a hundred. When a running sequence needs a block and there is none,
// the one that goes last gives its blocks back and waits; later its prompt and what it generated are computed again, which
// gives the same bits. So the first one always goes on.
//
// Prefix cache: a request begins with the blocks of the longest beginning that is in the cache. Where they end inside a
// block, that is copied. Blocks that a plan writes may be read by the next plan. A request whose beginning is still being
// computed for another waits for it.
//
// Micro-batches: plans in flight at the same time hold different sequences, but for a prompt's chunks, which need no
// answer. Each takes its share of the sequences and of the tokens that are to do, so that the stages of a pipeline all
// have work, and equally much. With plans_ahead a sequence may be in two plans in a row.
//
// Not thread-safe; the coordinator locks. Sinks are never called here: Commit, Cancel and Expire return what is to be
// told.
class Scheduler {
 public:
  using TimePoint = Sequences::TimePoint;
  struct Notice {
    std::shared_ptr<const TokenSink> sink;
    TokenEvent event;
  };

  // `masks`, which outlives it: makes the masks of constrained requests (Sequence::next_mask); without it none may
  // come.
  explicit Scheduler(SchedulerLimits limits, MaskThread* masks = nullptr);

  // kInvalidArgument, kResourceExhausted: see Generator::Submit.
  absl::StatusOr<uint64_t> Submit(GenerateRequest request, TokenSink sink);
  // The notice for the request's sink; nothing when it has ended already.
  std::optional<Notice> Cancel(uint64_t id);
  std::vector<Notice> CancelAll();
  // What the thread of `masks` tells of a request: its mask is made, or it ends with this error.
  std::optional<Notice> TakeMask(uint64_t id, absl::Status status);
  // Ends all requests with this error.
  std::vector<Notice> FailAll(const absl::Status& status);
  // Ends the requests whose limit of time is over, with kDeadlineExceeded.
  std::vector<Notice> Expire(TimePoint now);
  // When Expire has something to do; TimePoint::max(): never.
  TimePoint next_due() const { return sequences_.next_due(); }

  // The next step, or nothing when every sequence waits for an answer (or there is none).
  std::optional<StepPlan> PlanStep();
  // Takes the step's answers. `result` has one entry for each sequence of the plan that asks (StepSequence::asks).
  std::vector<Notice> Commit(StepResult result);

  // Whether one more plan may be in flight.
  bool CanPlan() const { return in_flight() < limits_.micro_batches + (limits_.plans_ahead ? 1 : 0); }
  int64_t in_flight() const { return static_cast<int64_t>(plans_.size()); }
  // Sequences that run, or ended while plans in flight hold them.
  int64_t running() const { return static_cast<int64_t>(sequences_.running().size()) + sequences_.ended(); }
  int64_t waiting() const { return static_cast<int64_t>(sequences_.waiting().size()); }
  // Blocks that no sequence holds.
  int64_t free_blocks() const { return pool_.available(); }
  SchedulerStats stats() const;
  const SchedulerLimits& limits() const { return limits_; }

 private:
  // What a plan in flight asked of each sequence, which lives as long as the plan.
  struct Planned {
    Sequence* sequence = nullptr;
    int64_t tokens = 0;
    bool samples = false;
    bool answers = false;
  };
  // A plan in the making: who gets how many tokens, and what is left to give.
  struct Draft {
    std::vector<Planned> shares;
    int64_t tokens = 0;
    int64_t sequences = 0;
  };

  int64_t SequencesPerPlan() const;
  int64_t TokensPerPlan() const;

  void Admit();
  bool TakesHits(const Sequence& sequence) const;
  bool WaitsForAnother(const Sequence& sequence, const PrefixTree::Match& match) const;
  bool HasRoom(const Sequence& sequence, const PrefixTree::Match& match) const;
  void Start(Sequence& sequence, const PrefixTree::Match& match);

  void ShareOut(Draft& draft);
  bool MayGoOn(const Sequence& sequence) const;
  int64_t MakeRoom(Sequence& sequence, int64_t tokens, Draft& draft);
  bool PreemptLast(const Sequence& sequence, Draft& draft);
  void Preempt(Sequence& sequence, Draft& draft);

  StepPlan MakePlan(Draft& draft);
  static std::vector<int32_t> TargetsOf(const Sequence& sequence, int64_t tokens);
  StepSequence AddToPlan(Planned& share, int32_t& draws);

  std::optional<Notice> TakeAnswer(const Planned& planned, SequenceResult answer);
  TokenEvent TakeToken(Sequence& sequence, SequenceResult& answer) const;
  std::optional<FinishReason> Finished(const Sequence& sequence, int32_t token) const;
  std::optional<Notice> EndEarly(uint64_t id, TokenEvent event);
  Notice End(Sequence& sequence, TokenEvent event);
  void StartMask(Sequence& sequence, int32_t token);
  void RemoveUnlessPlanned(Sequence& sequence);

  SchedulerLimits limits_;
  MaskThread* const masks_;
  BlockPool pool_;
  Sequences sequences_;
  std::map<uint64_t, std::vector<Planned>> plans_;
  bool last_tells_ = false;        // of given tokens: the last plan's draws cannot be told by number
  std::vector<BlockCopy> copies_;  // for the next plan
  std::vector<uint64_t> released_;
  SchedulerStats counters_;  // those since the start
  uint64_t next_step_ = 1;
};

}  // namespace ternion
