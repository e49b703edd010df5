#include "runtime/serving/scheduler.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/serving/request_check.h"

namespace ternion {

Scheduler::Scheduler(SchedulerLimits limits, MaskThread* masks)
    : limits_(std::move(limits)), masks_(masks), pool_(limits_.blocks, limits_.prefix_caching) {
  CHECK(!limits_.plans_ahead || limits_.micro_batches == 1,
        "a plan ahead goes on with the last plan's draws");
}

absl::StatusOr<uint64_t> Scheduler::Submit(GenerateRequest request, TokenSink sink) {
  TERNION_RETURN_IF_ERROR(CheckRequest(request, limits_));
  if (waiting() >= limits_.max_queue) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", limits_.max_queue, " requests wait already"));
  }
  if (limits_.max_queue_time.count() > 0 && request.queue_deadline == TimePoint::max()) {
    request.queue_deadline = std::chrono::steady_clock::now() + limits_.max_queue_time;
  }
  Sequence& sequence = sequences_.Add(std::move(request), std::move(sink), limits_.eos_ids);
  StartMask(sequence, -1);
  return sequence.id;
}

// The mask behind `token`; -1: the first one.
void Scheduler::StartMask(Sequence& sequence, int32_t token) {
  const GenerateRequest& request = sequence.request;
  if (request.constraint == nullptr) return;
  CHECK(masks_ != nullptr, "constrained requests come where masks are made");
  if (sequence.next_mask == nullptr) {
    std::vector<int32_t> end_ids = limits_.eos_ids;
    end_ids.insert(end_ids.end(), request.stop_ids.begin(), request.stop_ids.end());
    sequence.next_mask = std::make_shared<NextMask>(request.constraint, std::move(end_ids), limits_.vocab);
  }
  sequence.awaits_mask = true;
  masks_->Start(sequence.id, sequence.next_mask, token);
}

std::optional<Scheduler::Notice> Scheduler::Cancel(uint64_t id) {
  TokenEvent event;
  event.finish = FinishReason::kCancelled;
  return EndEarly(id, std::move(event));
}

std::optional<Scheduler::Notice> Scheduler::TakeMask(uint64_t id, absl::Status status) {
  if (status.ok()) {
    if (Sequence* sequence = sequences_.Find(id)) sequence->awaits_mask = false;
    return std::nullopt;
  }
  TokenEvent event;
  event.status = std::move(status);
  return EndEarly(id, std::move(event));
}

std::optional<Scheduler::Notice> Scheduler::EndEarly(uint64_t id, TokenEvent event) {
  Sequence* sequence = sequences_.Find(id);
  if (sequence == nullptr || sequence->ended()) return std::nullopt;
  Notice notice = End(*sequence, std::move(event));
  RemoveUnlessPlanned(*sequence);
  return notice;
}

std::vector<Scheduler::Notice> Scheduler::CancelAll() {
  std::vector<Notice> notices;
  for (const Sequence* sequence : sequences_.All()) {
    if (std::optional<Notice> notice = Cancel(sequence->id)) notices.push_back(*std::move(notice));
  }
  return notices;
}

std::vector<Scheduler::Notice> Scheduler::FailAll(const absl::Status& status) {
  plans_.clear();
  std::vector<Notice> notices;
  for (Sequence* sequence : sequences_.All()) {
    TokenEvent event;
    event.status = status;
    if (!sequence->ended()) notices.push_back(End(*sequence, std::move(event)));
    sequence->plans_in_flight = 0;
    RemoveUnlessPlanned(*sequence);
  }
  return notices;
}

std::vector<Scheduler::Notice> Scheduler::Expire(TimePoint now) {
  std::vector<Notice> notices;
  while (next_due() <= now && next_due() != TimePoint::max()) {
    Sequence& sequence = sequences_.FirstDue();
    const bool ran = sequence.has_run() || sequence.request.deadline <= now;
    TokenEvent event;
    event.status = absl::DeadlineExceededError(
        ran ? "the request's deadline came before its last token"
            : "the request waited for its turn until its limit (--max-queue-time, or its own)");
    notices.push_back(End(sequence, std::move(event)));
    RemoveUnlessPlanned(sequence);
  }
  return notices;
}

std::vector<Scheduler::Notice> Scheduler::Commit(StepResult result) {
  const auto plan = plans_.find(result.step);
  CHECK(plan != plans_.end(), "an answer to a step that is not in flight");
  std::vector<Notice> notices;
  notices.reserve(plan->second.size());
  auto answer = result.sequences.begin();
  for (const Planned& planned : plan->second) {
    Sequence& sequence = *planned.sequence;
    --sequence.plans_in_flight;
    if (planned.answers) {
      CHECK(answer != result.sequences.end() && answer->id == sequence.id,
            "a step's answers are not its plan's");
      if (std::optional<Notice> notice = TakeAnswer(planned, std::move(*answer++))) {
        notices.push_back(*std::move(notice));
      }
    }
    if (sequence.ended()) RemoveUnlessPlanned(sequence);
  }
  plans_.erase(plan);
  return notices;
}

std::optional<Scheduler::Notice> Scheduler::TakeAnswer(const Planned& planned, SequenceResult answer) {
  Sequence& sequence = *planned.sequence;
  if (planned.samples) --sequence.awaited;
  if (sequence.ended()) return std::nullopt;
  TokenEvent event;
  if (!sequence.request.score_targets.empty()) {
    sequence.negative_log_likelihood += answer.negative_log_likelihood;
    if (sequence.unplanned() > 0 || sequence.plans_in_flight > 0) return std::nullopt;
    event.negative_log_likelihood = sequence.negative_log_likelihood;
    event.finish = FinishReason::kLength;
  } else {
    std::vector<TokenLogprobs>& told = sequence.prompt_logprobs;
    std::move(answer.prompt_logprobs.begin(), answer.prompt_logprobs.end(), std::back_inserter(told));
    if (!planned.samples) return std::nullopt;
    event = TakeToken(sequence, answer);
  }
  if (event.finish.has_value()) return End(sequence, std::move(event));
  StartMask(sequence, event.token);
  return Notice{sequence.sink, std::move(event)};
}

TokenEvent Scheduler::TakeToken(Sequence& sequence, SequenceResult& answer) const {
  TokenEvent event;
  event.started = sequence.started;
  sequence.tokens.push_back(answer.token);
  sequence.rules.Add(answer.token);
  if (sequence.generated++ == 0) event.cached_tokens = sequence.cached_tokens;
  event.token = answer.token;
  event.logits_hash = answer.logits_hash;
  event.finish = Finished(sequence, answer.token);
  event.logprobs = std::move(answer.logprobs);
  event.prompt_logprobs = std::exchange(sequence.prompt_logprobs, {});
  return event;
}

std::optional<FinishReason> Scheduler::Finished(const Sequence& sequence, int32_t token) const {
  const GenerateRequest& request = sequence.request;
  const auto holds = [token](const std::vector<int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  if ((!request.ignore_eos && holds(limits_.eos_ids)) || holds(request.stop_ids)) return FinishReason::kStop;
  const bool full = static_cast<int64_t>(sequence.tokens.size()) >= limits_.max_model_len;
  if (full || sequence.generated >= request.max_tokens) return FinishReason::kLength;
  return std::nullopt;
}

// `event` is its last.
Scheduler::Notice Scheduler::End(Sequence& sequence, TokenEvent event) {
  event.started = sequence.started;
  sequences_.End(sequence);
  return {std::move(sequence.sink), std::move(event)};
}

// Gives the blocks of a sequence that ended back, unless plans in flight write to them.
void Scheduler::RemoveUnlessPlanned(Sequence& sequence) {
  if (sequence.plans_in_flight > 0) return;
  sequence.blocks.Remember(pool_, sequence.known_planned());
  sequence.blocks.DropAll(pool_);
  if (sequence.request.hash_logits) released_.push_back(sequence.id);
  sequences_.Remove(sequence);
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats = counters_;
  stats.running = static_cast<int64_t>(sequences_.running().size());
  stats.waiting = waiting();
  stats.blocks = pool_.blocks();
  stats.used_blocks = pool_.blocks() - pool_.available();
  return stats;
}

}  // namespace ternion
