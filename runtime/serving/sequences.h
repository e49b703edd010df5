#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/serving/sequence.h"

namespace ternion {

// All sequences that the scheduler knows, by what they do: wait, run, or have ended while plans in flight still hold them.
class Sequences {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Waiting = std::set<Sequence*, GoesBefore>;

  // Puts a new request among those that wait.
  Sequence& Add(GenerateRequest request, TokenSink sink, absl::Span<const int32_t> eos_ids);
  // nullptr: unknown, or removed.
  Sequence* Find(uint64_t id);
  // In order of their coming.
  std::vector<Sequence*> All();

  const Waiting& waiting() const { return waiting_; }
  // In GoesBefore's order.
  const std::vector<Sequence*>& running() const { return running_; }
  // Sequences that ended and are not removed.
  int64_t ended() const { return static_cast<int64_t>(by_id_.size() - waiting_.size() - running_.size()); }

  // From waiting to running, and back.
  void Admit(Sequence& sequence);
  void Preempt(Sequence& sequence);
  // From waiting or running to ended.
  void End(Sequence& sequence);
  // Destroys a sequence that has ended.
  void Remove(Sequence& sequence);

  // When the first of those that have not ended is due; TimePoint::max(): never.
  TimePoint next_due() const { return due_.empty() ? TimePoint::max() : due_.begin()->first; }
  // That sequence, where there is one.
  Sequence& FirstDue() { return *due_.begin()->second; }

 private:
  void StopRunning(Sequence& sequence);
  // Until when it may go on in its state.
  void SetDue(Sequence& sequence, TimePoint due);

  absl::flat_hash_map<uint64_t, std::unique_ptr<Sequence>> by_id_;
  Waiting waiting_;
  std::vector<Sequence*> running_;
  std::set<std::pair<TimePoint, Sequence*>> due_;
  uint64_t next_id_ = 1;
};

}  // namespace ternion
