// How the scheduler makes a plan: who is admitted, who goes on with how many tokens, who gives its blocks back.
#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "runtime/serving/scheduler.h"

namespace ternion {

std::optional<StepPlan> Scheduler::PlanStep() {
  Admit();
  Draft draft;
  draft.tokens = TokensPerPlan();
  draft.sequences = SequencesPerPlan();
  ShareOut(draft);
  if (!draft.shares.empty()) return MakePlan(draft);
  const auto awaits_mask = [](const Sequence* sequence) { return sequence->awaits_mask; };
  const std::vector<Sequence*>& running = sequences_.running();
  CHECK(in_flight() > 0 || running.size() + sequences_.waiting().size() == 0 ||
            std::any_of(running.begin(), running.end(), awaits_mask),
        "with nothing in flight some sequence can go on");
  return std::nullopt;
}

int64_t Scheduler::SequencesPerPlan() const {
  const auto alive = static_cast<int64_t>(sequences_.running().size());
  return (alive + limits_.micro_batches - 1) / limits_.micro_batches;
}

// Of what is to do, in flight or not.
int64_t Scheduler::TokensPerPlan() const {
  if (limits_.micro_batches == 1) return limits_.max_batch_tokens;
  int64_t tokens = 0;
  for (const Sequence* sequence : sequences_.running()) tokens += sequence->unplanned();
  for (const auto& [step, plan] : plans_) {
    for (const Planned& planned : plan) tokens += planned.tokens;
  }
  const int64_t share = (tokens + limits_.micro_batches - 1) / limits_.micro_batches;
  return std::min(limits_.max_batch_tokens, std::max(share, limits_.least_share));
}

// As many as have enough to do for all plans that may be in flight; the others may end by their limit of waiting.
void Scheduler::Admit() {
  int64_t prompts = 0;  // tokens of those admitted that are to be planned
  for (const Sequence* sequence : sequences_.running()) {
    if (!sequence->is_decoding()) prompts += sequence->unplanned();
  }
  const auto may_run = [&] {
    return static_cast<int64_t>(sequences_.running().size()) < limits_.max_sequences &&
           prompts < limits_.max_batch_tokens * limits_.micro_batches;
  };
  const Sequences::Waiting& waiting = sequences_.waiting();
  int64_t looked_at = 0;
  for (auto next = waiting.begin(); next != waiting.end() && may_run(); ++looked_at) {
    Sequence& sequence = **next++;
    // What it generates comes with the plans that it was in.
    if (sequence.plans_in_flight > 0 || looked_at == limits_.max_sequences) return;
    PrefixTree::Match match;
    if (TakesHits(sequence)) {
      match = pool_.Find(absl::MakeConstSpan(sequence.tokens).first(sequence.tokens.size() - 1));
      if (WaitsForAnother(sequence, match)) continue;
    }
    if (!HasRoom(sequence, match)) return;
    Start(sequence, match);
    prompts += sequence.unplanned();
  }
}

// What tells of every position of the prompt computes them all.
bool Scheduler::TakesHits(const Sequence& sequence) const {
  const GenerateRequest& request = sequence.request;
  return pool_.remembers() && request.score_targets.empty() &&
         (request.prompt_logprobs < 0 || sequence.generated > 0);
}

// Whether one that runs is about to compute more of the sequence's beginning than is in the cache.
bool Scheduler::WaitsForAnother(const Sequence& sequence, const PrefixTree::Match& match) const {
  const auto wanted = absl::MakeConstSpan(sequence.tokens).first(sequence.tokens.size() - 1);
  const int64_t least = match.tokens() + PrefixTree::kLeastPart;
  return std::any_of(sequences_.running().begin(), sequences_.running().end(), [&](const Sequence* other) {
    if (other->is_decoding() || other->unplanned() == 0) return false;
    const int64_t common = CommonPrefix(other->tokens, wanted);
    return common >= least && common > other->planned;
  });
}

// Beside what those that run need for the tokens they have, so that it does not make one of them give its blocks back.
bool Scheduler::HasRoom(const Sequence& sequence, const PrefixTree::Match& match) const {
  const auto count = static_cast<int64_t>(sequence.tokens.size());
  int64_t need = BlocksFor(count) - static_cast<int64_t>(match.whole.size());
  for (const int32_t block : match.whole) need += pool_.is_held(block) ? 0 : 1;
  if (!sequences_.running().empty()) need += (pool_.blocks() + 99) / 100;
  for (const Sequence* other : sequences_.running()) {
    need += std::max<int64_t>(0, BlocksFor(other->length()) - other->blocks.size());
  }
  return need <= pool_.available();
}

void Scheduler::Start(Sequence& sequence, const PrefixTree::Match& match) {
  if (const std::optional<BlockCopy> copy = sequence.blocks.Share(pool_, match)) copies_.push_back(*copy);
  sequence.planned = match.tokens();
  sequence.negative_log_likelihood = 0;
  sequence.prompt_logprobs.clear();
  counters_.block_copies += match.part_tokens > 0 ? 1 : 0;
  if (!sequence.has_run()) {
    sequence.cached_tokens = match.tokens();
    counters_.prefix_hit_tokens += match.tokens();
    if (TakesHits(sequence)) counters_.prefix_query_tokens += static_cast<int64_t>(sequence.tokens.size());
  }
  sequences_.Admit(sequence);
}

// Decoding sequences first (one token each), then prompts.
void Scheduler::ShareOut(Draft& draft) {
  const std::vector<Sequence*>& running = sequences_.running();
  for (const bool decoding : {true, false}) {
    // Those that give their blocks back stand behind the one that gets them.
    for (size_t i = 0; i < running.size() && draft.tokens > 0 && draft.sequences > 0; ++i) {
      Sequence& sequence = *running[i];
      if (sequence.is_decoding() != decoding || !MayGoOn(sequence)) continue;
      const int64_t tokens = MakeRoom(sequence, std::min(sequence.unplanned(), draft.tokens), draft);
      if (tokens == 0) continue;
      draft.shares.push_back({&sequence, tokens, false});
      draft.tokens -= tokens;
      --draft.sequences;
    }
  }
}

// Whether the sequence has tokens to plan; an awaited one, unless it is the last in any case.
bool Scheduler::MayGoOn(const Sequence& sequence) const {
  if (sequence.unplanned() == 0 || sequence.awaits_mask) return false;
  if (sequence.awaited == 0) return true;
  const GenerateRequest& request = sequence.request;
  return limits_.plans_ahead && !last_tells_ && !request.hash_logits && !sequence.rules.depends_on_tokens() &&
         sequence.next_mask == nullptr && sequence.length() < limits_.max_model_len &&
         sequence.generated + sequence.awaited < request.max_tokens;
}

// How many of its next `tokens` tokens the sequence has blocks for.
int64_t Scheduler::MakeRoom(Sequence& sequence, int64_t tokens, Draft& draft) {
  const int64_t need = BlocksFor(sequence.planned + tokens);
  while (!sequence.blocks.Grow(pool_, need) && PreemptLast(sequence, draft)) {
  }
  return std::min(tokens, sequence.blocks.size() * kKvBlockTokens - sequence.planned);
}

// Takes the blocks of the one that goes last; false when there is none behind `sequence`.
bool Scheduler::PreemptLast(const Sequence& sequence, Draft& draft) {
  const std::vector<Sequence*>& running = sequences_.running();
  for (auto last = running.rbegin(); last != running.rend() && *last != &sequence; ++last) {
    if ((*last)->blocks.size() == 0) continue;
    Preempt(**last, draft);
    return true;
  }
  return false;
}

// Its plans in flight may still write to the blocks: they run before any that is made from now on.
void Scheduler::Preempt(Sequence& sequence, Draft& draft) {
  const auto share = std::find_if(draft.shares.begin(), draft.shares.end(),
                                  [&](const Planned& planned) { return planned.sequence == &sequence; });
  if (share != draft.shares.end()) {
    draft.tokens += share->tokens;
    ++draft.sequences;
    draft.shares.erase(share);
  }
  sequence.blocks.Remember(pool_, sequence.known_planned());
  sequence.blocks.DropAll(pool_);
  sequence.planned = 0;
  sequences_.Preempt(sequence);
  ++counters_.preemptions;
}

StepPlan Scheduler::MakePlan(Draft& draft) {
  StepPlan plan;
  plan.step = next_step_++;
  plan.released = std::exchange(released_, {});
  plan.copies = std::exchange(copies_, {});
  plan.sequences.reserve(draft.shares.size());
  last_tells_ = false;
  int32_t draws = 0;
  for (Planned& share : draft.shares) plan.sequences.push_back(AddToPlan(share, draws));
  for (const Planned& share : draft.shares) {
    Sequence& sequence = *share.sequence;
    sequence.blocks.Remember(pool_, sequence.known_planned());
  }
  plans_[plan.step] = std::move(draft.shares);
  return plan;
}

// The ids that follow its next tokens, where it asks about them: about all of them when it is scored, about the prompt's when
// it is told their log-probabilities.
std::vector<int32_t> Scheduler::TargetsOf(const Sequence& sequence, int64_t tokens) {
  const auto [begin, end] = std::pair(sequence.planned, sequence.planned + tokens);
  const std::vector<int32_t>&scored = sequence.request.score_targets, &prompt = sequence.request.prompt;
  if (!scored.empty()) return {scored.begin() + begin, scored.begin() + end};
  const int64_t last = std::min(end + 1, static_cast<int64_t>(prompt.size()));
  if (sequence.request.prompt_logprobs < 0 || sequence.generated > 0 || begin + 1 >= last) return {};
  return {prompt.begin() + begin + 1, prompt.begin() + last};
}

// `draws` counts the plan's sequences that sample.
StepSequence Scheduler::AddToPlan(Planned& planned, int32_t& draws) {
  Sequence& sequence = *planned.sequence;
  if (sequence.started == TimePoint::max()) sequence.started = std::chrono::steady_clock::now();
  StepSequence share;
  share.id = sequence.id;
  share.position = sequence.planned;
  if (sequence.awaited > 0) {
    share.tokens = {~sequence.draw};
  } else {
    const auto first = sequence.tokens.begin() + sequence.planned;
    share.tokens.assign(first, first + planned.tokens);
  }
  const std::vector<int32_t>& table = sequence.blocks.table();
  share.block_table.assign(table.begin(), table.begin() + BlocksFor(sequence.planned + planned.tokens));
  share.targets = TargetsOf(sequence, planned.tokens);
  share.prompt_logprobs = sequence.request.prompt_logprobs;
  last_tells_ |= !share.targets.empty();
  share.sample = !share.scores() && planned.tokens == sequence.unplanned();
  share.hash_logits = sequence.request.hash_logits;
  share.sample_index = sequence.length();
  share.sampling = sequence.request.sampling;
  planned.samples = share.sample;
  planned.answers = share.asks();
  sequence.planned += planned.tokens;
  ++sequence.plans_in_flight;
  if (share.sample) {
    share.changes = sequence.rules.ChangesOf(sequence.generated + sequence.awaited);
    if (sequence.next_mask != nullptr) share.mask = sequence.next_mask->mask();
    share.logprobs = sequence.request.logprobs;
    ++sequence.awaited;
    sequence.draw = draws++;
  }
  return share;
}

}  // namespace ternion
