#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "runtime/serving/request.h"

namespace ternion {

// One choice's event.
struct ChoiceEvent {
  int choice = 0;
  TokenEvent event;
};

// Who takes the events of a queue. Both functions are called on the pushing thread and must not block.
struct EventReader {
  std::function<void()> wake;  // the queue has stopped being empty
  std::function<void()> drop;  // too much waits: the queue has closed itself; called once
  size_t most_bytes;           // that may wait
};

// Holds a request's token events until its client takes them. Pushing never waits: a reader that is slow costs the entries of
// its own queue, and one that is too slow loses it. Thread-safe.
class EventQueue {
 public:
  // `capacity` is the most events that the engine may owe; more is a fault of the engine.
  EventQueue(size_t capacity, EventReader reader) : capacity_(capacity), reader_(std::move(reader)) {}

  // The log-probabilities of a prompt do not count: they come once, however fast the reader is.
  void Push(ChoiceEvent event);
  // At most `most` events, oldest first.
  std::vector<ChoiceEvent> Take(size_t most);
  // Drops what is there and what comes; the reader is not called after this returns.
  void Close();

 private:
  void CloseLocked();

  std::mutex mutex_;
  size_t capacity_;  // events that may still come
  EventReader reader_;
  bool closed_ = false;
  size_t waiting_bytes_ = 0;
  std::deque<ChoiceEvent> events_;
};

}  // namespace ternion
