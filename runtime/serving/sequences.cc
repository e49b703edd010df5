#include "runtime/serving/sequences.h"

#include <algorithm>

#include "kernels/check.h"

namespace ternion {

Sequence& Sequences::Add(GenerateRequest request, TokenSink sink, absl::Span<const int32_t> eos_ids) {
  auto owned = std::make_unique<Sequence>();
  Sequence& sequence = *owned;
  sequence.id = next_id_++;
  sequence.tokens = request.prompt;
  sequence.rules = LogitRules(request, eos_ids);
  sequence.request = std::move(request);
  sequence.sink = std::make_shared<const TokenSink>(std::move(sink));
  SetDue(sequence, std::min(sequence.request.queue_deadline, sequence.request.deadline));
  waiting_.insert(&sequence);
  by_id_[sequence.id] = std::move(owned);
  return sequence;
}

Sequence* Sequences::Find(uint64_t id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second.get();
}

std::vector<Sequence*> Sequences::All() {
  std::vector<Sequence*> all;
  for (const auto& [id, sequence] : by_id_) all.push_back(sequence.get());
  std::sort(all.begin(), all.end(), [](const Sequence* a, const Sequence* b) { return a->id < b->id; });
  return all;
}

void Sequences::Admit(Sequence& sequence) {
  CHECK(waiting_.erase(&sequence) == 1, "one that waits is admitted");
  sequence.state = Sequence::State::kRunning;
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, GoesBefore()), &sequence);
  SetDue(sequence, sequence.request.deadline);
}

void Sequences::Preempt(Sequence& sequence) {
  StopRunning(sequence);
  sequence.state = Sequence::State::kWaiting;
  waiting_.insert(&sequence);
}

void Sequences::End(Sequence& sequence) {
  if (sequence.state == Sequence::State::kRunning) StopRunning(sequence);
  waiting_.erase(&sequence);
  SetDue(sequence, TimePoint::max());
  sequence.state = Sequence::State::kEnded;
}

void Sequences::Remove(Sequence& sequence) {
  CHECK(sequence.ended(), "a sequence ends before it is removed");
  by_id_.erase(sequence.id);
}

void Sequences::StopRunning(Sequence& sequence) {
  const auto found = std::lower_bound(running_.begin(), running_.end(), &sequence, GoesBefore());
  CHECK(found != running_.end() && *found == &sequence, "the sequence runs");
  running_.erase(found);
}

void Sequences::SetDue(Sequence& sequence, TimePoint due) {
  if (sequence.due != TimePoint::max()) due_.erase({sequence.due, &sequence});
  if (due != TimePoint::max()) due_.insert({due, &sequence});
  sequence.due = due;
}

}  // namespace ternion
