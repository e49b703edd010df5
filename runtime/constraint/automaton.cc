#include "runtime/constraint/automaton.h"

#include <algorithm>
#include <utility>

namespace ternion {
namespace {

uint64_t Pack(int32_t a, int32_t b) {
  return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b);
}

}  // namespace

Automaton::Automaton(const Grammar& grammar) : grammar_(&grammar) {
  Reach({grammar.rule(0).begin, kBottom});
  start_ = TakeReached();
}

int32_t Automaton::Step(int32_t state, uint8_t byte) {
  for (const Place& place : states_[state].places) {
    for (const Grammar::Edge& edge : grammar_->node(place.node).edges) {
      if (edge.low <= byte && byte <= edge.high) Reach({edge.to, place.stack});
    }
  }
  return TakeReached();
}

// All places that can be reached from this one without a byte.
void Automaton::Reach(Place first) {
  const auto open = [this](Place place) {
    if (seen_.insert(Pack(place.node, place.stack)).second) open_.push_back(place);
  };
  open(first);
  while (!open_.empty() && !too_ambiguous_) {
    const Place place = open_.back();
    open_.pop_back();
    const Grammar::Node& node = grammar_->node(place.node);
    if (!node.edges.empty()) reached_.push_back(Pack(place.node, place.stack));
    for (const int32_t to : node.jumps) open({to, place.stack});
    for (const Grammar::Call& call : node.calls) {
      // A rule that ends with a call needs no return.
      const bool last = grammar_->node(call.to).ends;
      open({grammar_->rule(call.rule).begin, last ? place.stack : Push(call.to, place.stack)});
    }
    if (node.ends && place.stack == kBottom) {
      reached_end_ = true;
    } else if (node.ends) {
      open({frames_[place.stack].node, frames_[place.stack].below});
    }
    too_ambiguous_ = seen_.size() > 8 * kMostPlaces || reached_.size() > kMostPlaces;
  }
}

int32_t Automaton::TakeReached() {
  std::vector<uint64_t> key = std::exchange(reached_, {});
  const bool complete = std::exchange(reached_end_, false);
  open_.clear();
  seen_.clear();
  if (too_ambiguous_ || (key.empty() && !complete)) return kDead;
  std::sort(key.begin(), key.end());
  key.erase(std::unique(key.begin(), key.end()), key.end());
  key.push_back(complete ? 1 : 0);
  const auto [id, is_new] = state_ids_.try_emplace(std::move(key), static_cast<int32_t>(states_.size()));
  if (!is_new) return id->second;
  State& state = states_.emplace_back();
  state.next.fill(kUnknown);
  state.complete = complete;
  for (size_t i = 0; i + 1 < id->first.size(); ++i) {
    state.places.push_back({static_cast<int32_t>(id->first[i] >> 32), static_cast<int32_t>(id->first[i])});
  }
  return id->second;
}

int32_t Automaton::Push(int32_t node, int32_t below) {
  const auto [id, is_new] = frame_ids_.try_emplace(Pack(node, below), static_cast<int32_t>(frames_.size()));
  if (is_new) frames_.push_back({node, below, frames_[below].depth + 1});
  return id->second;
}

Automaton::Local Automaton::LocalOf(int32_t state) {
  if (complete(state)) return {state, false};
  int32_t bottom = CommonStack(states_[state].places);
  while (bottom != kBottom && grammar_->node(frames_[bottom].node).behind_part)
    bottom = frames_[bottom].below;
  if (bottom == kBottom) return {state, false};
  for (const Place& place : states_[state].places) {
    reached_.push_back(Pack(place.node, Lift(place.stack, bottom)));
  }
  return {TakeReached(), true};
}

int32_t Automaton::CommonStack(const std::vector<Place>& places) const {
  int32_t common = places[0].stack;
  for (const Place& place : places) {
    int32_t other = place.stack;
    while (common != other) {
      if (frames_[common].depth < frames_[other].depth) std::swap(common, other);
      common = frames_[common].below;
    }
  }
  return common;
}

int32_t Automaton::Alike(int32_t state, int64_t bytes) {
  if (state == kDead) return state;
  for (const Place& place : states_[state].places) {
    reached_.push_back(Pack(grammar_->Alike(place.node, bytes), AlikeStack(place.stack, bytes)));
  }
  reached_end_ = complete(state);
  return TakeReached();
}

int32_t Automaton::AlikeStack(int32_t stack, int64_t bytes) {
  if (stack == kBottom) return stack;
  const Frame frame = frames_[stack];
  return Push(grammar_->Alike(frame.node, bytes), AlikeStack(frame.below, bytes));
}

// The same stack without `bottom`, which it stands on.
int32_t Automaton::Lift(int32_t stack, int32_t bottom) {
  std::vector<int32_t> nodes;
  for (; stack != bottom; stack = frames_[stack].below) nodes.push_back(frames_[stack].node);
  int32_t lifted = kBottom;
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) lifted = Push(*node, lifted);
  return lifted;
}

}  // namespace ternion
