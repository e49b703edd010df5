#include "runtime/serving/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {

Scheduler::Scheduler(SchedulerLimits limits) : limits_(std::move(limits)), blocks_(limits_.blocks) {
  CHECK(!limits_.plans_ahead || limits_.micro_batches == 1,
        "a plan ahead goes on with the last plan's draws");
}

absl::StatusOr<uint64_t> Scheduler::Submit(GenerateRequest request, TokenSink sink) {
  TERNION_RETURN_IF_ERROR(Validate(request));
  if (waiting() >= limits_.max_queue) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", limits_.max_queue, " requests wait already"));
  }
  auto sequence = std::make_unique<Sequence>();
  sequence->id = next_id_++;
  sequence->tokens = request.prompt;
  sequence->rules = LogitRules(request, limits_.eos_ids);
  sequence->request = std::move(request);
  sequence->sink = std::move(sink);
  waiting_.push_back(std::move(sequence));
  return waiting_.back()->id;
}

absl::Status Scheduler::Validate(const GenerateRequest& request) const {
  const int64_t length = static_cast<int64_t>(request.prompt.size());
  if (length == 0) return absl::InvalidArgumentError("the prompt is empty; it needs at least one token");
  const bool scores = !request.score_targets.empty();
  const int64_t longest = scores ? limits_.max_model_len : limits_.max_model_len - 1;
  if (length > longest) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ", length, " tokens; the context of ",
                                                   limits_.max_model_len, " holds at most ", longest,
                                                   scores ? "" : " and one generated token"));
  }
  if (!scores && request.max_tokens < 1) return absl::InvalidArgumentError("max_tokens must be at least 1");
  if (scores && request.score_targets.size() != request.prompt.size()) {
    return absl::InvalidArgumentError("score_targets must be as long as the prompt");
  }
  for (const std::vector<int32_t>* ids : {&request.prompt, &request.score_targets}) {
    for (int32_t id : *ids) {
      if (id < 0 || id >= limits_.vocab) {
        return absl::InvalidArgumentError(
            absl::StrCat("token id ", id, " is outside the vocabulary of ", limits_.vocab));
      }
    }
  }
  TERNION_RETURN_IF_ERROR(CheckLogitRules(request, limits_.vocab));
  const int64_t need = BlocksFor(PositionsOf(request));
  if (need > blocks_.blocks()) {
    return absl::InvalidArgumentError(absl::StrCat("the request needs ", need, " KV blocks of ",
                                                   kKvBlockTokens, " tokens and there are ", blocks_.blocks(),
                                                   "; lower max_tokens or raise --kv-memory"));
  }
  return absl::OkStatus();
}

// The last generated token is never fed back, so it takes no position.
int64_t Scheduler::PositionsOf(const GenerateRequest& request) const {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  if (!request.score_targets.empty()) return prompt;
  return prompt + std::min(request.max_tokens, limits_.max_model_len - prompt) - 1;
}

std::optional<Scheduler::Notice> Scheduler::Cancel(uint64_t id) {
  TokenEvent event;
  event.finish = FinishReason::kCancelled;
  const auto waiting = std::find_if(waiting_.begin(), waiting_.end(), [&](auto& s) { return s->id == id; });
  if (waiting != waiting_.end()) {
    Notice notice{std::move((*waiting)->sink), event};
    waiting_.erase(waiting);
    return notice;
  }
  Sequence* sequence = Find(id);
  if (sequence == nullptr || sequence->ended) return std::nullopt;
  sequence->ended = true;
  Notice notice{std::move(sequence->sink), event};
  Release();
  return notice;
}

std::vector<Scheduler::Notice> Scheduler::CancelAll() {
  std::vector<uint64_t> ids;
  for (const auto& sequence : waiting_) ids.push_back(sequence->id);
  for (const auto& sequence : running_) ids.push_back(sequence->id);
  std::vector<Notice> notices;
  for (uint64_t id : ids) {
    if (std::optional<Notice> notice = Cancel(id)) notices.push_back(*std::move(notice));
  }
  return notices;
}

std::vector<Scheduler::Notice> Scheduler::FailAll(const absl::Status& status) {
  std::vector<Notice> notices;
  const auto fail = [&](Sequence& sequence) {
    TokenEvent event;
    event.status = status;
    notices.push_back({std::move(sequence.sink), event});
    sequence.ended = true;
  };
  for (auto& sequence : waiting_) fail(*sequence);
  waiting_.clear();
  for (auto& sequence : running_) {
    if (!sequence->ended) fail(*sequence);
  }
  plans_.clear();
  for (auto& sequence : running_) sequence->plans_in_flight = 0;
  Release();
  return notices;
}

std::optional<StepPlan> Scheduler::PlanStep() {
  Admit();
  Draft draft;
  int64_t budget = TokensPerPlan();
  int64_t places = SequencesPerPlan();
  // Decoding sequences first (one token each), then prompts, both in order of admission.
  for (const bool decoding : {true, false}) {
    for (auto& sequence : running_) {
      const bool is_decoding = sequence->generated + sequence->awaited > 0;
      if (is_decoding != decoding || !MayGoOn(*sequence)) continue;
      if (budget == 0 || places == 0) break;
      const int64_t tokens = std::min(sequence->unplanned(), budget);
      AddToPlan(*sequence, tokens, draft);
      budget -= tokens;
      --places;
    }
  }
  StepPlan& plan = draft.plan;
  if (plan.sequences.empty()) return std::nullopt;
  plan.step = next_step_++;
  plan.released = std::exchange(released_, {});
  plans_[plan.step] = std::move(draft.planned);
  last_scores_ = draft.scores;
  return std::move(plan);
}

// Whether the sequence has tokens to plan; an awaited one, unless it is the last in any case.
bool Scheduler::MayGoOn(const Sequence& sequence) const {
  if (sequence.ended || sequence.unplanned() == 0) return false;
  if (sequence.awaited == 0) return true;
  const GenerateRequest& request = sequence.request;
  return limits_.plans_ahead && !last_scores_ && !request.hash_logits &&
         !sequence.rules.depends_on_tokens() && sequence.length() < limits_.max_model_len &&
         sequence.generated + sequence.awaited < request.max_tokens;
}

int64_t Scheduler::SequencesPerPlan() const {
  int64_t alive = 0;
  for (const auto& sequence : running_) alive += sequence->ended ? 0 : 1;
  return (alive + limits_.micro_batches - 1) / limits_.micro_batches;
}

// Of what is to do, in flight or not.
int64_t Scheduler::TokensPerPlan() const {
  if (limits_.micro_batches == 1) return limits_.max_batch_tokens;
  int64_t tokens = 0;
  for (const auto& sequence : running_) tokens += sequence->ended ? 0 : sequence->unplanned();
  for (const auto& [step, plan] : plans_) {
    for (const Planned& planned : plan) tokens += planned.tokens;
  }
  const int64_t share = (tokens + limits_.micro_batches - 1) / limits_.micro_batches;
  return std::min(limits_.max_batch_tokens, std::max(share, limits_.least_share));
}

void Scheduler::Admit() {
  while (!waiting_.empty() && running() < limits_.max_sequences) {
    Sequence& next = *waiting_.front();
    std::vector<int32_t> blocks = blocks_.Take(BlocksFor(PositionsOf(next.request)));
    if (blocks.empty()) return;
    next.block_table = std::move(blocks);
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

namespace {

// The ids that follow `tokens` tokens from `begin` on, where the request asks about them: about all of them when it is scored,
// about the prompt's when it is told their log-probabilities.
std::vector<int32_t> TargetsOf(const GenerateRequest& request, int64_t begin, int64_t tokens) {
  const std::vector<int32_t>& targets = request.score_targets;
  if (!targets.empty()) return {targets.begin() + begin, targets.begin() + begin + tokens};
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (request.prompt_logprobs < 0 || begin + 1 >= length) return {};
  return {request.prompt.begin() + begin + 1, request.prompt.begin() + std::min(begin + tokens + 1, length)};
}

}  // namespace

void Scheduler::AddToPlan(Sequence& sequence, int64_t tokens, Draft& draft) {
  StepSequence share;
  share.id = sequence.id;
  share.position = sequence.planned;
  if (sequence.awaited > 0) {
    share.tokens = {~sequence.draw};
  } else {
    const auto first = sequence.tokens.begin() + sequence.planned;
    share.tokens.assign(first, first + tokens);
  }
  share.block_table.assign(sequence.block_table.begin(),
                           sequence.block_table.begin() + BlocksFor(sequence.planned + tokens));
  share.targets = TargetsOf(sequence.request, sequence.planned, tokens);
  share.prompt_logprobs = sequence.request.prompt_logprobs;
  share.sample = !share.scores() && tokens == sequence.unplanned();
  share.hash_logits = sequence.request.hash_logits;
  share.sample_index = sequence.length();
  share.sampling = sequence.request.sampling;
  sequence.planned += tokens;
  ++sequence.plans_in_flight;
  if (share.sample) {
    share.changes = sequence.rules.ChangesOf(sequence.generated + sequence.awaited);
    share.logprobs = sequence.request.logprobs;
    ++sequence.awaited;
    sequence.draw = draft.draws++;
  }
  draft.scores |= !share.targets.empty();
  draft.planned.push_back({share.id, tokens, share.sample, share.asks()});
  draft.plan.sequences.push_back(std::move(share));
}

std::vector<Scheduler::Notice> Scheduler::Commit(const StepResult& result) {
  const auto plan = plans_.find(result.step);
  CHECK(plan != plans_.end(), "an answer to a step that is not in flight");
  std::vector<Notice> notices;
  auto answer = result.sequences.begin();
  for (const Planned& planned : plan->second) {
    Sequence* sequence = Find(planned.id);
    CHECK(sequence != nullptr, "a sequence ended while a plan held it");
    --sequence->plans_in_flight;
    if (!planned.answers) continue;
    CHECK(answer != result.sequences.end() && answer->id == planned.id,
          "a step's answers are not its plan's");
    if (std::optional<Notice> notice = TakeAnswer(*sequence, planned, *answer++)) {
      notices.push_back(*std::move(notice));
    }
  }
  plans_.erase(plan);
  Release();
  return notices;
}

std::optional<Scheduler::Notice> Scheduler::TakeAnswer(Sequence& sequence, const Planned& planned,
                                                       const SequenceResult& answer) {
  if (planned.samples) --sequence.awaited;
  if (sequence.ended) return std::nullopt;
  TokenEvent event;
  if (!sequence.request.score_targets.empty()) {
    sequence.negative_log_likelihood += answer.negative_log_likelihood;
    if (sequence.unplanned() > 0 || sequence.plans_in_flight > 0) return std::nullopt;
    event.negative_log_likelihood = sequence.negative_log_likelihood;
    event.finish = FinishReason::kLength;
  } else {
    std::vector<TokenLogprobs>& told = sequence.prompt_logprobs;
    told.insert(told.end(), answer.prompt_logprobs.begin(), answer.prompt_logprobs.end());
    if (!planned.samples) return std::nullopt;
    event = TakeToken(sequence, answer);
  }
  sequence.ended = event.finish.has_value();
  return Notice{sequence.ended ? std::move(sequence.sink) : sequence.sink, event};
}

TokenEvent Scheduler::TakeToken(Sequence& sequence, const SequenceResult& answer) const {
  sequence.tokens.push_back(answer.token);
  sequence.rules.Add(answer.token);
  ++sequence.generated;
  TokenEvent event;
  event.token = answer.token;
  event.logits_hash = answer.logits_hash;
  event.finish = Finished(sequence, answer.token);
  event.logprobs = answer.logprobs;
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

Scheduler::Sequence* Scheduler::Find(uint64_t id) {
  const auto found = std::find_if(running_.begin(), running_.end(), [&](auto& s) { return s->id == id; });
  return found == running_.end() ? nullptr : found->get();
}

// Gives back the blocks of sequences that ended and that no plan in flight can still write to.
void Scheduler::Release() {
  std::erase_if(running_, [&](const std::unique_ptr<Sequence>& sequence) {
    if (!sequence->ended || sequence->plans_in_flight > 0) return false;
    blocks_.Give(sequence->block_table);
    if (sequence->request.hash_logits) released_.push_back(sequence->id);
    return true;
  });
}

}  // namespace ternion
