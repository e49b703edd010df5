#include "runtime/serving/coordinator.h"

#include <chrono>
#include <thread>
#include <utility>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/communicator.h"
#include "runtime/serving/request_life.h"

namespace ternion {

Coordinator::Coordinator(SchedulerLimits limits, bool samples_here, SendPlan send_plan, RunStep run_step,
                         Progress progress)
    : limits_(limits),
      samples_here_(samples_here),
      send_plan_(std::move(send_plan)),
      run_step_(std::move(run_step)),
      progress_(std::move(progress)),
      scheduler_(std::move(limits), &masks_) {}

void Coordinator::UseTrace(Trace* trace) {
  trace_ = trace;
  meter_.UseTrace(trace);
}

void Coordinator::UseMetrics(ServingMetrics* metrics) {
  metrics_ = metrics;
  meter_.UseMetrics(metrics);
}

absl::StatusOr<uint64_t> Coordinator::Submit(GenerateRequest request, TokenSink sink) {
  std::shared_ptr<RequestLife> life;
  if (metrics_ != nullptr || trace_ != nullptr) {
    life = std::make_shared<RequestLife>(request, std::move(sink), metrics_,
                                         metrics_ != nullptr ? &gaps_ : nullptr, trace_);
    sink = [life](const TokenEvent& event) { life->Take(event); };
  }
  std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  if (!accepts_) return absl::UnavailableError("the server is draining and takes no new requests");
  absl::StatusOr<uint64_t> id = scheduler_.Submit(std::move(request), std::move(sink));
  if (absl::IsResourceExhausted(id.status())) {
    return WithRetryAfter(id.status(), completions_.TimeFor(scheduler_.waiting(), StepMeter::Clock::now()));
  }
  if (id.ok() && life != nullptr) life->SetId(*id);
  idle_ = false;
  Changed();
  return id;
}

void Coordinator::Cancel(uint64_t id) {
  std::lock_guard lock(mutex_);
  if (std::optional<Scheduler::Notice> notice = scheduler_.Cancel(id)) pending_.push_back(*std::move(notice));
  idle_ = false;
  Changed();
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

int64_t Coordinator::free_blocks() const {
  std::lock_guard lock(mutex_);
  return scheduler_.free_blocks();
}

SchedulerStats Coordinator::stats() const {
  std::lock_guard lock(mutex_);
  return scheduler_.stats();
}

absl::Status Coordinator::Run() {
  std::unique_lock lock(mutex_);
  while (failure_.ok()) {
    absl::Status moved = WaitForWork(lock);
    if (Overdue()) ExpireRequests();
    if (!moved.ok()) {
      if (failure_.ok()) failure_ = std::move(moved);
    } else if (!pending_.empty() && !(steps_run_ahead_ && (!results_.empty() || CanPlan()))) {
      TellPending(lock);
    } else if (!results_.empty()) {
      CommitResults();
    } else if (CanPlan()) {
      absl::Status stepped = StepOnce(lock);
      if (!stepped.ok() && failure_.ok()) failure_ = std::move(stepped);
    } else if (CanTakeAnswers()) {
      absl::Status taken = TakeOldestAnswers(lock);
      if (!taken.ok() && failure_.ok()) failure_ = std::move(taken);
    } else if (Finished()) {
      return absl::OkStatus();
    }
  }
  for (Scheduler::Notice& notice : scheduler_.FailAll(failure_)) pending_.push_back(std::move(notice));
  TellPending(lock);
  return failure_;
}

bool Coordinator::CanPlan() const { return !idle_ && scheduler_.CanPlan(); }

bool Coordinator::CanTakeAnswers() const { return take_answers_ != nullptr && scheduler_.in_flight() > 0; }

bool Coordinator::Finished() const {
  return !accepts_ && scheduler_.running() == 0 && scheduler_.waiting() == 0;
}

bool Coordinator::HasWork() const {
  return !failure_.ok() || !pending_.empty() || !results_.empty() || CanPlan() || CanTakeAnswers() ||
         Finished() || Overdue();
}

absl::Status Coordinator::WaitForWork(std::unique_lock<std::mutex>& lock) {
  const auto has_work = [this] { return HasWork(); };
  for (bool moving = progress_ != nullptr; moving && !HasWork();) {
    lock.unlock();
    const absl::StatusOr<bool> left = progress_();
    lock.lock();
    TERNION_RETURN_IF_ERROR(left.status());
    moving = *left;
    if (moving) changed_.wait_for(lock, kProgressInterval, has_work);
  }
  while (steps_run_ahead_ && scheduler_.in_flight() > 0 && !HasWork()) {
    const uint64_t seen = changes_;
    lock.unlock();
    while (changes_ == seen) std::this_thread::yield();
    lock.lock();
  }
  const Scheduler::TimePoint due = scheduler_.next_due();
  if (due == Scheduler::TimePoint::max()) {
    changed_.wait(lock, has_work);
  } else {
    changed_.wait_until(lock, due, has_work);
  }
  return absl::OkStatus();
}

void Coordinator::Changed() {
  ++changes_;
  changed_.notify_all();
}

absl::Status Coordinator::StepOnce(std::unique_lock<std::mutex>& lock) {
  StepMeter::Phase planning(meter_, StepPhase::kPlan);
  std::optional<StepPlan> plan = scheduler_.PlanStep();
  if (!plan) {
    idle_ = true;
    return absl::OkStatus();
  }
  planning.End(plan->step);
  lock.unlock();
  StepMeter::Phase sending(meter_, StepPhase::kSend);
  send_plan_(*plan);
  sending.End(plan->step);
  meter_.CountStep(plan->tokens());
  StepMeter::Phase running(meter_, StepPhase::kRun);
  absl::StatusOr<StepResult> result = run_step_(*plan);
  running.End();
  lock.lock();
  if (!result.ok()) return std::move(result).status();
  if (samples_here_ && take_answers_ == nullptr) results_.push_back(*std::move(result));
  return absl::OkStatus();
}

absl::Status Coordinator::TakeOldestAnswers(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  absl::StatusOr<StepResult> result = take_answers_();
  lock.lock();
  if (!result.ok()) return std::move(result).status();
  results_.push_back(*std::move(result));
  return absl::OkStatus();
}

void Coordinator::CommitResults() {
  StepMeter::Phase committing(meter_, StepPhase::kCommit);
  for (StepResult& result : results_) {
    Notices notices = scheduler_.Commit(std::move(result));
    if (pending_.empty()) pending_.swap(notices);
    for (Scheduler::Notice& notice : notices) pending_.push_back(std::move(notice));
  }
  results_.clear();
  idle_ = false;
  committing.End();
}

void Coordinator::NoteEnds(Notices& notices) {
  const auto now = StepMeter::Clock::now();
  int64_t ended = 0;
  for (Scheduler::Notice& notice : notices) {
    TokenEvent& event = notice.event;
    ended += event.finish || !event.status.ok() ? 1 : 0;
    const bool never_started = event.started == std::chrono::steady_clock::time_point::max();
    if (!absl::IsDeadlineExceeded(event.status) || !never_started) continue;
    event.status = WithRetryAfter(event.status, completions_.TimeFor(scheduler_.waiting(), now));
  }
  completions_.Add(ended, now);
}

bool Coordinator::Overdue() const {
  return scheduler_.next_due() != Scheduler::TimePoint::max() &&
         scheduler_.next_due() <= std::chrono::steady_clock::now();
}

void Coordinator::ExpireRequests() {
  for (Scheduler::Notice& notice : scheduler_.Expire(std::chrono::steady_clock::now())) {
    pending_.push_back(std::move(notice));
  }
  idle_ = false;
}

void Coordinator::OnMask(uint64_t id, const absl::Status& status) {
  std::lock_guard lock(mutex_);
  if (std::optional<Scheduler::Notice> notice = scheduler_.TakeMask(id, status)) {
    pending_.push_back(*std::move(notice));
  }
  idle_ = false;
  Changed();
}

void Coordinator::TellPending(std::unique_lock<std::mutex>& lock) {
  StepMeter::Phase telling(meter_, StepPhase::kTell);
  changed_.wait(lock, [this] { return !telling_; });
  NoteEnds(pending_);
  Tell(lock);
  telling.End();
}

void Coordinator::Tell(std::unique_lock<std::mutex>& lock) {
  Notices notices = std::exchange(pending_, {});
  telling_ = true;
  lock.unlock();
  const auto now = StepMeter::Clock::now();
  for (Scheduler::Notice& notice : notices) {
    notice.event.more_follow = &notice != &notices.back();
    notice.event.told = now;
    (*notice.sink)(notice.event);
  }
  lock.lock();
  telling_ = false;
  changed_.notify_all();
}

void Coordinator::Drain() {
  std::lock_guard lock(mutex_);
  accepts_ = false;
  idle_ = false;
  Changed();
}

void Coordinator::Stop() {
  std::lock_guard lock(mutex_);
  accepts_ = false;
  idle_ = false;
  for (Scheduler::Notice& notice : scheduler_.CancelAll()) pending_.push_back(std::move(notice));
  Changed();
}

void Coordinator::OnResult(StepResult result) {
  std::lock_guard lock(mutex_);
  results_.push_back(std::move(result));
  Changed();
}

void Coordinator::OnFailure(absl::Status status) {
  std::lock_guard lock(mutex_);
  if (failure_.ok()) failure_ = std::move(status);
  Changed();
}

void Coordinator::TellFailure() {
  std::unique_lock lock(mutex_);
  CHECK(!failure_.ok(), "there is a failure to tell");
  changed_.wait(lock, [this] { return !telling_; });
  for (Scheduler::Notice& notice : scheduler_.FailAll(failure_)) pending_.push_back(std::move(notice));
  Tell(lock);  // the meter is the engine's thread's alone
}

bool Coordinator::failed() const {
  std::lock_guard lock(mutex_);
  return !failure_.ok();
}

}  // namespace ternion
