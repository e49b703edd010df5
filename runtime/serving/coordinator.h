#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "runtime/serving/request.h"
#include "runtime/serving/scheduler.h"
#include "runtime/serving/step_plan.h"

namespace ternion {

// Rank 0's loop: plan, execute, commit. Run holds the engine's thread; all else may be called from any thread.
class Coordinator final : public Generator {
 public:
  // Sends a plan to every other rank; never blocks.
  using SendPlan = std::function<void(const StepPlan&)>;
  // Runs this rank's share of a plan; the answer when this rank samples, else one without sequences.
  using RunStep = std::function<absl::StatusOr<StepResult>(const StepPlan&)>;

  // `samples_here`: RunStep gives the answers; otherwise OnResult does.
  Coordinator(SchedulerLimits limits, bool samples_here, SendPlan send_plan, RunStep run_step);

  absl::StatusOr<uint64_t> Submit(GenerateRequest request, TokenSink sink) override;
  void Cancel(uint64_t id) override;
  absl::Status Ready() const override;
  int64_t max_model_len() const override { return limits_.max_model_len; }
  int64_t active_requests() const override;

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

 private:
  using Notices = std::vector<Scheduler::Notice>;

  bool CanPlan() const;
  bool Finished() const;
  absl::Status StepOnce(std::unique_lock<std::mutex>& lock);
  void CommitResults();
  // Calls the sinks of pending_, on the engine's thread, so that a request's events come in order.
  void TellPending(std::unique_lock<std::mutex>& lock);

  const SchedulerLimits limits_;
  const bool samples_here_;
  const SendPlan send_plan_;
  const RunStep run_step_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Scheduler scheduler_;
  std::vector<StepResult> results_;
  Notices pending_;
  bool accepts_ = true;
  bool idle_ = true;  // nothing could be planned since the last change
  absl::Status failure_;
};

}  // namespace ternion
