#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "net/wake_list.h"
#include "runtime/serving/request.h"

namespace ternion {

// One choice's event.
struct ChoiceEvent {
  int choice = 0;
  TokenEvent event;
};

// Who takes the events of a queue. `drop` is called on the pushing thread and must not block.
struct EventReader {
  std::function<void()> wake;       // the queue has stopped being empty; called by way of `wakes`
  std::function<void()> drop;       // too much waits: the queue has closed itself; called once
  size_t most_bytes;                // that may wait
  std::shared_ptr<WakeList> wakes;  // of the server
};

// Carries token events from the engine's thread to the network's. Pushing never waits: a reader that is slow costs the
// entries of its own queue, and one that is too slow loses it.
class EventQueue {
 public:
  // `capacity` is the most events that the engine may owe; more is a fault of the engine.
  EventQueue(size_t capacity, EventReader reader)
      : capacity_(capacity), wakes_(reader.wakes), reader_(std::move(reader)) {}

  // Readers are woken with the last of the events that follow each other (TokenEvent::more_follow).
  // The log-probabilities of a prompt do not count: they come once, however fast the reader is.
  void Push(int choice, const TokenEvent& event);
  // At most `most` events, oldest first.
  std::vector<ChoiceEvent> Take(size_t most);
  // Drops what is there and what comes; the reader is not called after this returns.
  void Close();

 private:
  void Add(int choice, const TokenEvent& event);
  void CloseLocked();

  std::mutex mutex_;
  size_t capacity_;  // events that may still come
  const std::shared_ptr<WakeList> wakes_;
  EventReader reader_;
  bool closed_ = false;
  size_t waiting_bytes_ = 0;
  std::deque<ChoiceEvent> events_;
};

}  // namespace ternion
