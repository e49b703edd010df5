#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "runtime/serving/request.h"
#include "runtime/serving/retry_after.h"
#include "runtime/serving/scheduler.h"
#include "runtime/serving/step_meter.h"
#include "runtime/serving/step_plan.h"
#include "runtime/serving/token_gaps.h"

namespace ternion {

// Rank 0's loop: plan, execute, commit. Run holds the engine's thread; all else may be called from any thread.
class Coordinator final : public Generator {
 public:
  // Sends a plan to every other rank; never blocks.
  using SendPlan = std::function<void(const StepPlan&)>;
  // Runs this rank's share of a plan; the answer when this rank samples, else one without sequences.
  using RunStep = std::function<absl::StatusOr<StepResult>(const StepPlan&)>;

  // Moves on what steps have sent; true while some of it has not left. Called before Run sleeps, until it is false.
  using Progress = std::function<absl::StatusOr<bool>()>;

  // `samples_here`: RunStep gives the answers; otherwise OnResult does. `progress` may be empty.
  Coordinator(SchedulerLimits limits, bool samples_here, SendPlan send_plan, RunStep run_step,
              Progress progress = nullptr);

  // The answers of the oldest step that RunStep has enqueued; waits for them.
  using TakeAnswers = std::function<absl::StatusOr<StepResult>()>;

  // Before Run: RunStep returns when its work is enqueued; `take_answers` gives the answers where this rank samples, others
  // do where it is empty. Run then plans on before it tells what has come, and does not sleep while plans are in flight:
  // what a sleeper takes to wake up counts in every step.
  void StepsRunAhead(TakeAnswers take_answers) {
    steps_run_ahead_ = true;
    take_answers_ = std::move(take_answers);
  }

  // Before Run and Submit: what the loop does and what requests go through is recorded, or counted; both outlive Run.
  void UseTrace(Trace* trace);
  void UseMetrics(ServingMetrics* metrics);

  // A full queue's error carries an estimate of when to try again (RetryAfterOf), as does that of a request that waited for
  // its turn too long.
  absl::StatusOr<uint64_t> Submit(GenerateRequest request, TokenSink sink) override;
  void Cancel(uint64_t id) override;
  absl::Status Ready() const override;
  int64_t max_model_len() const override { return limits_.max_model_len; }
  int64_t active_requests() const override;
  // What the loop has taken so far, by phases.
  StepTimes step_times() const { return meter_.Read(); }
  // KV blocks that no request holds.
  int64_t free_blocks() const;
  SchedulerStats stats() const;

  // Steps until Stop was called and nothing runs any more, or a step or rank failed (all requests then end with that
  // error). Sleeps when there is nothing to do.
  absl::Status Run();

  // No new requests; Run returns when those that were accepted have ended.
  void Drain();
  // No new requests; those that run end with kCancelled.
  void Stop();
  // From the control channel: answers of the sampling rank, and faults.
  void OnResult(StepResult result);
  void OnFailure(absl::Status status);
  // After OnFailure, from any thread: requests end now. Run may wait for a lost rank inside its step for ever.
  void TellFailure();
  // Whether Run has ended, or will, because something failed.
  bool failed() const;

 private:
  using Notices = std::vector<Scheduler::Notice>;

  bool CanPlan() const;
  bool CanTakeAnswers() const;
  bool Finished() const;
  bool HasWork() const;
  absl::Status WaitForWork(std::unique_lock<std::mutex>& lock);
  void Changed();  // with mutex_ held
  absl::Status StepOnce(std::unique_lock<std::mutex>& lock);
  absl::Status TakeOldestAnswers(std::unique_lock<std::mutex>& lock);
  void CommitResults();
  bool Overdue() const;
  void ExpireRequests();
  void OnMask(uint64_t id, const absl::Status& status);
  // Counts the requests that have ended, and tells those that waited too long when to come again.
  void NoteEnds(Notices& notices);
  // Calls the sinks of pending_, on the engine's thread, so that a request's events come in order.
  void TellPending(std::unique_lock<std::mutex>& lock);
  // The same, on the one thread that tells at a time.
  void Tell(std::unique_lock<std::mutex>& lock);

  const SchedulerLimits limits_;
  const bool samples_here_;
  const SendPlan send_plan_;
  const RunStep run_step_;
  const Progress progress_;
  bool steps_run_ahead_ = false;
  TakeAnswers take_answers_;

  Trace* trace_ = nullptr;
  ServingMetrics* metrics_ = nullptr;
  StepMeter meter_;
  TokenGaps gaps_;  // of what is being told

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<uint64_t> changes_{0};
  Scheduler scheduler_;
  std::vector<StepResult> results_;
  Notices pending_;
  CompletionRate completions_;
  bool telling_ = false;  // a thread calls sinks; one at a time does
  bool accepts_ = true;
  bool idle_ = true;  // nothing could be planned since the last change
  absl::Status failure_;
  // Ends before the others do.
  MaskThread masks_{[this](uint64_t id, const absl::Status& status) { OnMask(id, status); }};
};

}  // namespace ternion
