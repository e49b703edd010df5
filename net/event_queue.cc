#include "net/event_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "kernels/check.h"

namespace ternion {
namespace {

size_t BytesOf(const TokenEvent& event) {
  const size_t top = event.logprobs.has_value() ? event.logprobs->top.size() : 0;
  return sizeof(ChoiceEvent) + top * sizeof(std::pair<int32_t, float>);
}

}  // namespace

void EventQueue::Push(ChoiceEvent event) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  CHECK(capacity_ > 0, "the engine sent more tokens than a request allows");
  --capacity_;
  waiting_bytes_ += BytesOf(event.event);
  if (waiting_bytes_ > reader_.most_bytes) {
    const std::function<void()> drop = std::move(reader_.drop);
    CloseLocked();
    return drop();
  }
  events_.push_back(std::move(event));
  if (events_.size() == 1) reader_.wake();
}

std::vector<ChoiceEvent> EventQueue::Take(size_t most) {
  const std::lock_guard lock(mutex_);
  const auto end = events_.begin() + static_cast<std::ptrdiff_t>(std::min(most, events_.size()));
  std::vector<ChoiceEvent> taken(std::make_move_iterator(events_.begin()), std::make_move_iterator(end));
  events_.erase(events_.begin(), end);
  for (const ChoiceEvent& event : taken) waiting_bytes_ -= BytesOf(event.event);
  return taken;
}

void EventQueue::Close() {
  const std::lock_guard lock(mutex_);
  CloseLocked();
}

void EventQueue::CloseLocked() {
  closed_ = true;
  events_.clear();
  waiting_bytes_ = 0;
  reader_ = {};  // it may hold what does not live as long as the engine's sinks
}

}  // namespace ternion
