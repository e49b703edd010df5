#include "net/event_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "kernels/check.h"

namespace ternion {

void EventQueue::Push(int choice, const TokenEvent& event) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  CHECK(capacity_ > 0, "the engine sent more tokens than a request allows");
  --capacity_;
  events_.push_back({choice, event});
  if (events_.size() == 1) wake_();
}

std::vector<ChoiceEvent> EventQueue::Take(size_t most) {
  const std::lock_guard lock(mutex_);
  const auto end = events_.begin() + static_cast<std::ptrdiff_t>(std::min(most, events_.size()));
  std::vector<ChoiceEvent> taken(std::make_move_iterator(events_.begin()), std::make_move_iterator(end));
  events_.erase(events_.begin(), end);
  return taken;
}

void EventQueue::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  events_.clear();
  wake_ = nullptr;  // it may hold what does not live as long as the engine's sinks
}

}  // namespace ternion
