#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/serving/logit_rules.h"
#include "runtime/serving/request.h"
#include "runtime/serving/step_plan.h"

namespace ternion {

struct SchedulerLimits {
  int64_t max_model_len = 2048;    // prompt and generated tokens of a sequence
  int64_t max_batch_tokens = 512;  // tokens of a step
  int64_t max_sequences = 64;      // sequences that run at once
  int64_t max_queue = 1024;        // requests that wait
  int64_t blocks = 0;              // KV blocks
  int64_t vocab = 0;
  int micro_batches = 1;  // running sequences are shared out among so many plans in flight
  // One more plan may be in flight: a sequence goes on in it with the token that the plan before draws, whatever that may
  // be. What it does with a token that ends its sequence is thrown away.
  bool plans_ahead = false;
  // A prompt is not cut into smaller shares for micro-batches: a step of so few tokens takes hardly longer than one of
  // fewer.
  int64_t least_share = 64;
  std::vector<int32_t> eos_ids;
};

// Decides which tokens run in which step: continuous batching, first come first served. A request is admitted when
// the KV blocks of all its tokens are free, so that a running one never has to stop.
//
// Micro-batches: plans in flight at the same time hold different sequences, but for a prompt's chunks, which need no
// answer. Each takes its share of the sequences and of the tokens that are to do, so that the stages of a pipeline all
// have work, and equally much. With plans_ahead a sequence may be in two plans in a row.
//
// Not thread-safe; the coordinator locks. Sinks are never called here: Commit and Cancel return what is to be told.
class Scheduler {
 public:
  struct Notice {
    TokenSink sink;
    TokenEvent event;
  };

  explicit Scheduler(SchedulerLimits limits);

  // kInvalidArgument, kResourceExhausted: see Generator::Submit.
  absl::StatusOr<uint64_t> Submit(GenerateRequest request, TokenSink sink);
  // The notice for the request's sink; nothing when it has ended already.
  std::optional<Notice> Cancel(uint64_t id);
  std::vector<Notice> CancelAll();
  // Ends all requests with this error.
  std::vector<Notice> FailAll(const absl::Status& status);

  // The next step, or nothing when every sequence waits for an answer (or there is none).
  std::optional<StepPlan> PlanStep();
  // Takes the step's answers. `result` has one entry for each sequence of the plan that samples or scores.
  std::vector<Notice> Commit(const StepResult& result);

  // Whether one more plan may be in flight.
  bool CanPlan() const { return in_flight() < limits_.micro_batches + (limits_.plans_ahead ? 1 : 0); }
  int64_t in_flight() const { return static_cast<int64_t>(plans_.size()); }
  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t free_blocks() const { return blocks_.free_blocks(); }
  const SchedulerLimits& limits() const { return limits_; }

 private:
  struct Sequence {
    uint64_t id = 0;
    GenerateRequest request;
    TokenSink sink;
    LogitRules rules;
    std::vector<int32_t> tokens;  // prompt, then what was generated
    std::vector<int32_t> block_table;
    int64_t planned = 0;  // tokens that are in the cache or on their way
    int64_t plans_in_flight = 0;
    int64_t generated = 0;
    int64_t awaited = 0;  // tokens that plans in flight draw
    int32_t draw = 0;     // which of its plan's draws the last of them is
    double negative_log_likelihood = 0;
    std::vector<TokenLogprobs> prompt_logprobs;  // what has come of them
    bool ended = false;  // no more events; blocks are given back when no plan holds it

    int64_t length() const { return static_cast<int64_t>(tokens.size()) + awaited; }
    int64_t unplanned() const { return length() - planned; }
  };
  using SequenceList = std::vector<std::unique_ptr<Sequence>>;
  // What a plan in flight asked of each sequence.
  struct Planned {
    uint64_t id = 0;
    int64_t tokens = 0;
    bool samples = false;
    bool answers = false;
  };
  // A plan in the making.
  struct Draft {
    StepPlan plan;
    std::vector<Planned> planned;
    int32_t draws = 0;    // sequences that sample
    bool scores = false;  // some do not draw, but answer for each token
  };

  absl::Status Validate(const GenerateRequest& request) const;
  int64_t PositionsOf(const GenerateRequest& request) const;
  int64_t SequencesPerPlan() const;
  int64_t TokensPerPlan() const;
  void Admit();
  bool MayGoOn(const Sequence& sequence) const;
  void AddToPlan(Sequence& sequence, int64_t tokens, Draft& draft);
  std::optional<Notice> TakeAnswer(Sequence& sequence, const Planned& planned, const SequenceResult& answer);
  TokenEvent TakeToken(Sequence& sequence, const SequenceResult& answer) const;
  std::optional<FinishReason> Finished(const Sequence& sequence, int32_t token) const;
  Sequence* Find(uint64_t id);
  void Release();

  SchedulerLimits limits_;
  BlockAllocator blocks_;
  std::deque<std::unique_ptr<Sequence>> waiting_;
  SequenceList running_;  // in order of admission
  std::map<uint64_t, std::vector<Planned>> plans_;
  bool last_scores_ = false;  // the last plan: its draws cannot be told by number
  std::vector<uint64_t> released_;
  uint64_t next_id_ = 1;
  uint64_t next_step_ = 1;
};

}  // namespace ternion
