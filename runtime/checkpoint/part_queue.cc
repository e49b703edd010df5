#include "runtime/checkpoint/part_queue.h"

#include <utility>

namespace ternion {

absl::Status PartQueue::Push(StageWeights part) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.size() < most_ || !given_up_.ok(); });
  if (!given_up_.ok()) return given_up_;
  waiting_.push(std::move(part));
  changed_.notify_all();
  return absl::OkStatus();
}

void PartQueue::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::optional<StageWeights> PartQueue::Pop() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !waiting_.empty() || closed_; });
  if (waiting_.empty()) return std::nullopt;
  StageWeights part = std::move(waiting_.front());
  waiting_.pop();
  changed_.notify_all();
  return part;
}

void PartQueue::GiveUp(const absl::Status& why) {
  std::lock_guard lock(mutex_);
  given_up_ = why;
  changed_.notify_all();
}

}  // namespace ternion
