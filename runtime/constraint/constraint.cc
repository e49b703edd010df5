#include "runtime/constraint/constraint.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/backend.h"
#include "kernels/status.h"

namespace ternion {
namespace {

void SetBit(TokenMask& mask, int32_t id) { mask[id / 32] |= uint32_t{1} << (id % 32); }

}  // namespace

Constraint::Constraint(Grammar grammar, std::shared_ptr<const VocabularyTrie> vocabulary)
    : grammar_(std::move(grammar)),
      vocabulary_(std::move(vocabulary)),
      automaton_(std::make_unique<Automaton>(grammar_)) {}

absl::Status Constraint::Text::Add(int32_t token) {
  const std::lock_guard lock(constraint_->mutex_);
  const int32_t from = State();
  const std::string_view bytes = constraint_->vocabulary_->BytesOf(token);
  state_ = bytes.empty() ? Automaton::kDead : constraint_->Run(from, bytes);
  if (state_ == Automaton::kDead) return Failure(absl::StrCat("token ", token, " does not go on with it"));
  bytes_ += bytes;
  return absl::OkStatus();
}

absl::StatusOr<TokenMask> Constraint::Text::Next(absl::Span<const int32_t> end_ids, int64_t vocab) {
  Constraint& constraint = *constraint_;
  const std::lock_guard lock(constraint.mutex_);
  constraint.Trim();
  const int32_t state = State();
  if (state == Automaton::kDead) return Failure("its grammar is too ambiguous");
  const Automaton::Local local = constraint.automaton_->LocalOf(state);
  TokenMask mask(MaskWords(constraint.vocabulary_->vocab_size()));
  for (size_t tree = 0; tree < constraint.vocabulary_->trees().size(); ++tree) {
    const LocalMask& found = constraint.MaskOf(local.state, tree);
    std::transform(mask.begin(), mask.end(), found.allowed.begin(), mask.begin(), std::bit_or<>());
    if (!local.below) continue;
    for (const int32_t token : found.open) {
      if (constraint.Run(state, constraint.vocabulary_->BytesOf(token)) != Automaton::kDead)
        SetBit(mask, token);
    }
  }
  if (constraint.automaton_->too_ambiguous()) return Failure("its grammar is too ambiguous");
  mask.resize(MaskWords(vocab));
  if (constraint.automaton_->complete(state)) {
    for (const int32_t id : end_ids) SetBit(mask, id);
  }
  if (std::all_of(mask.begin(), mask.end(), [](uint32_t word) { return word == 0; })) {
    return Failure("the tokenizer has no token that goes on with it");
  }
  return mask;
}

bool Constraint::Text::complete() {
  const std::lock_guard lock(constraint_->mutex_);
  const int32_t state = State();
  return state != Automaton::kDead && constraint_->automaton_->complete(state);
}

int32_t Constraint::Text::State() {
  if (generation_ == constraint_->generation_) return state_;
  generation_ = constraint_->generation_;
  const int32_t start = constraint_->automaton_->start();
  return state_ = start == Automaton::kDead ? start : constraint_->Run(start, bytes_);
}

absl::Status Constraint::Text::Failure(std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat("the constrained text cannot be continued behind its first ",
                                                 bytes_.size(), " bytes: ", ToAbsl(what)));
}

// Texts find their states again by their bytes.
void Constraint::Trim() {
  if (automaton_->states() <= kMostStates && masks_.size() <= kMostMasks) return;
  masks_.clear();
  automaton_ = std::make_unique<Automaton>(grammar_);
  ++generation_;
}

int32_t Constraint::Run(int32_t state, std::string_view bytes) {
  for (const char c : bytes) {
    state = automaton_->Next(state, static_cast<uint8_t>(c));
    if (state == Automaton::kDead) break;
  }
  return state;
}

const Constraint::LocalMask& Constraint::MaskOf(int32_t local_state, size_t tree) {
  const VocabularyTrie::Tree& tokens = vocabulary_->trees()[tree];
  const int32_t alike = automaton_->Alike(local_state, tokens.depth);
  const auto [place, is_new] = masks_.try_emplace({alike, tree});
  if (is_new) place->second = Walk(alike, tokens);
  return place->second;
}

// Down a tree of the vocabulary. A token whose bytes leave the local state's rule before they end is open.
Constraint::LocalMask Constraint::Walk(int32_t local_state, const VocabularyTrie::Tree& tree) {
  struct Step {
    int32_t state = Automaton::kDead;
    bool open = false;  // the bytes so far may have left the rule
  };
  LocalMask mask;
  mask.allowed.resize(MaskWords(vocabulary_->vocab_size()));
  std::vector<Step> path(tree.depth + 1);  // by depth
  path[0].state = local_state;
  for (size_t i = 0; i < tree.nodes.size();) {
    const VocabularyTrie::Node& node = tree.nodes[i];
    const Step before = path[node.depth - 1];
    Step& here = path[node.depth] = {Automaton::kDead, before.open};
    if (before.state != Automaton::kDead) {
      here.state = automaton_->Next(before.state, node.byte);
      here.open |= node.depth > 1 && automaton_->complete(before.state);
    }
    const bool alive = here.state != Automaton::kDead;
    for (int32_t k = node.first_token; (alive || here.open) && k < node.last_token; ++k) {
      if (alive) SetBit(mask.allowed, tree.tokens[k]);
      if (!alive) mask.open.push_back(tree.tokens[k]);
    }
    i = alive || here.open ? i + 1 : static_cast<size_t>(node.end);
  }
  return mask;
}

}  // namespace ternion
