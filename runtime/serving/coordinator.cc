#include "runtime/serving/coordinator.h"

#include <utility>

#include "kernels/status.h"

namespace ternion {

Coordinator::Coordinator(SchedulerLimits limits, bool samples_here, SendPlan send_plan, RunStep run_step)
    : limits_(limits),
      samples_here_(samples_here),
      send_plan_(std::move(send_plan)),
      run_step_(std::move(run_step)),
      scheduler_(std::move(limits)) {}

absl::StatusOr<uint64_t> Coordinator::Submit(GenerateRequest request, TokenSink sink) {
  std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  if (!accepts_) return absl::UnavailableError("the server is draining and takes no new requests");
  absl::StatusOr<uint64_t> id = scheduler_.Submit(std::move(request), std::move(sink));
  idle_ = false;
  changed_.notify_all();
  return id;
}

void Coordinator::Cancel(uint64_t id) {
  std::lock_guard lock(mutex_);
  if (std::optional<Scheduler::Notice> notice = scheduler_.Cancel(id)) pending_.push_back(*std::move(notice));
  idle_ = false;
  changed_.notify_all();
}

absl::Status Coordinator::Ready() const {
  std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  return accepts_ ? absl::OkStatus() : absl::UnavailableError("draining");
}

int64_t Coordinator::active_requests() const {
  std::lock_guard lock(mutex_);
  return scheduler_.running() + scheduler_.waiting();
}

absl::Status Coordinator::Run() {
  std::unique_lock lock(mutex_);
  while (failure_.ok()) {
    changed_.wait(lock, [&] {
      return !failure_.ok() || !pending_.empty() || !results_.empty() || CanPlan() || Finished();
    });
    if (!pending_.empty()) {
      TellPending(lock);
    } else if (!results_.empty()) {
      CommitResults();
    } else if (CanPlan()) {
      absl::Status stepped = StepOnce(lock);
      if (!stepped.ok() && failure_.ok()) failure_ = std::move(stepped);
    } else if (Finished()) {
      return absl::OkStatus();
    }
  }
  for (Scheduler::Notice& notice : scheduler_.FailAll(failure_)) pending_.push_back(std::move(notice));
  TellPending(lock);
  return failure_;
}

bool Coordinator::CanPlan() const { return !idle_ && scheduler_.in_flight() < limits_.pipeline_stages; }

bool Coordinator::Finished() const {
  return !accepts_ && scheduler_.running() == 0 && scheduler_.waiting() == 0;
}

absl::Status Coordinator::StepOnce(std::unique_lock<std::mutex>& lock) {
  std::optional<StepPlan> plan = scheduler_.PlanStep();
  if (!plan) {
    idle_ = true;
    return absl::OkStatus();
  }
  lock.unlock();
  send_plan_(*plan);
  absl::StatusOr<StepResult> result = run_step_(*plan);
  lock.lock();
  if (!result.ok()) return std::move(result).status();
  if (samples_here_) results_.push_back(*std::move(result));
  return absl::OkStatus();
}

void Coordinator::CommitResults() {
  for (const StepResult& result : std::exchange(results_, {})) {
    for (Scheduler::Notice& notice : scheduler_.Commit(result)) pending_.push_back(std::move(notice));
  }
  idle_ = false;
}

void Coordinator::TellPending(std::unique_lock<std::mutex>& lock) {
  const Notices notices = std::exchange(pending_, {});
  lock.unlock();
  for (const Scheduler::Notice& notice : notices) notice.sink(notice.event);
  lock.lock();
}

void Coordinator::Drain() {
  std::lock_guard lock(mutex_);
  accepts_ = false;
  idle_ = false;
  changed_.notify_all();
}

void Coordinator::Stop() {
  std::lock_guard lock(mutex_);
  accepts_ = false;
  idle_ = false;
  for (Scheduler::Notice& notice : scheduler_.CancelAll()) pending_.push_back(std::move(notice));
  changed_.notify_all();
}

void Coordinator::OnResult(StepResult result) {
  std::lock_guard lock(mutex_);
  results_.push_back(std::move(result));
  changed_.notify_all();
}

void Coordinator::OnFailure(absl::Status status) {
  std::lock_guard lock(mutex_);
  if (failure_.ok()) failure_ = std::move(status);
  changed_.notify_all();
}

}  // namespace ternion
