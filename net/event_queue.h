#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "runtime/serving/request.h"

namespace ternion {

// One choice's event.
struct ChoiceEvent {
  int choice = 0;
  TokenEvent event;
};

// Carries token events from the engine's thread to the network's. Pushing never waits: a reader that is slow
// costs the entries of its own queue, which its max_tokens bound.
class EventQueue {
 public:
  // `wake` is called when the queue stops being empty, on the pushing thread; it must not block. `capacity`
  // is the most events that the engine may owe; more is a fault of the engine.
  EventQueue(size_t capacity, std::function<void()> wake) : capacity_(capacity), wake_(std::move(wake)) {}

  void Push(int choice, const TokenEvent& event);
  // At most `most` events, oldest first.
  std::vector<ChoiceEvent> Take(size_t most);
  // Drops what is there and what comes; `wake` is not called after this returns.
  void Close();

 private:
  std::mutex mutex_;
  size_t capacity_;  // events that may still come
  std::function<void()> wake_;
  bool closed_ = false;
  std::deque<ChoiceEvent> events_;
};

}  // namespace ternion
