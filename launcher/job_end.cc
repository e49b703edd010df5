#include "launcher/job_end.h"

#include <utility>

namespace ternion {
namespace {

constexpr std::chrono::seconds kTellLimit{1};

}  // namespace

JobEnd::JobEnd(Actions actions)
    : actions_(std::move(actions)), teller_([this] { RunTeller(); }), timer_([this] { RunTimer(); }) {}

JobEnd::~JobEnd() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }
  timer_.join();
  teller_.join();
}

void JobEnd::Lose(Cause cause) {
  const std::lock_guard lock(mutex_);
  if (begun()) return;
  cause_ = std::move(cause);
  begun_at_ = Clock::now();
  changed_.notify_all();
}

void JobEnd::Fail(Cause cause) {
  const std::lock_guard lock(mutex_);
  if (begun() || std::exchange(suspected_, true)) return;
  cause_ = std::move(cause);
  changed_.notify_all();
}

void JobEnd::Await() {
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}

void JobEnd::RunTeller() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return begun() || (cancelled_ && !suspected_); });
  if (!begun()) return;
  const Cause cause = cause_;
  lock.unlock();
  actions_.tell(cause);
  lock.lock();
  told_ = true;
  changed_.notify_all();
}

void JobEnd::RunTimer() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return begun() || suspected_ || cancelled_; });
  if (!begun() && !suspected_) return;
  changed_.wait_for(lock, kPatience, [this] { return begun(); });
  if (!begun()) begun_at_ = Clock::now();
  changed_.notify_all();
  const Cause cause = cause_;
  const Clock::time_point begun_at = *begun_at_;
  changed_.wait_until(lock, begun_at + kTellLimit, [this] { return told_; });
  lock.unlock();
  std::this_thread::sleep_until(begun_at + cause.linger);
  actions_.end(cause);
}

}  // namespace ternion
