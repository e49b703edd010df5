#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "runtime/constraint/grammar.h"

namespace ternion {

// A grammar as a deterministic automaton whose states are made when they are first reached. A state is a set of places in
// the grammar, each with the stack of rules to return to. Not thread-safe.
class Automaton {
 public:
  static constexpr int32_t kDead = -1;
  // A state of more places, in a grammar that is more ambiguous than this, is taken for a dead one (too_ambiguous).
  static constexpr size_t kMostPlaces = 1024;

  // `grammar`, which is finished, outlives it.
  explicit Automaton(const Grammar& grammar);

  int32_t start() const { return start_; }
  int32_t Next(int32_t state, uint8_t byte) {
    int32_t& next = states_[state].next[byte];
    return next == kUnknown ? next = Step(state, byte) : next;
  }
  // The whole string may end here.
  bool complete(int32_t state) const { return states_[state].complete; }
  size_t states() const { return states_.size(); }
  bool too_ambiguous() const { return too_ambiguous_; }

  // What a state does as long as it does not return from the deepest rule, but for parts (Grammar::AddPart), that all its
  // places are in. There it is complete and goes no further, where the state itself goes on with what stands below: this
  // one is shared by all states that are alike but for that. `below`: whether there is anything.
  struct Local {
    int32_t state = 0;
    bool below = false;
  };
  Local LocalOf(int32_t state);
  // A state that goes on as this one does for so many bytes; many counts share it (Grammar::Alike).
  int32_t Alike(int32_t state, int64_t bytes);

 private:
  static constexpr int32_t kUnknown = -2;
  static constexpr int32_t kBottom = 0;  // the empty stack

  // A node, and the stack of nodes to return to.
  struct Place {
    int32_t node = 0;
    int32_t stack = kBottom;
  };
  struct Frame {
    int32_t node = 0;
    int32_t below = 0;
    int32_t depth = 0;
  };
  struct State {
    std::vector<Place> places;  // nodes with edges, in order
    bool complete = false;
    std::array<int32_t, 256> next;
  };

  int32_t Step(int32_t state, uint8_t byte);
  void Reach(Place place);
  int32_t TakeReached();
  int32_t Push(int32_t node, int32_t below);
  int32_t CommonStack(const std::vector<Place>& places) const;
  int32_t Lift(int32_t stack, int32_t bottom);
  int32_t AlikeStack(int32_t stack, int64_t bytes);

  const Grammar* grammar_;
  int32_t start_ = 0;
  bool too_ambiguous_ = false;
  std::vector<Frame> frames_ = {{}};
  absl::flat_hash_map<uint64_t, int32_t> frame_ids_;
  std::deque<State> states_;
  absl::flat_hash_map<std::vector<uint64_t>, int32_t> state_ids_;
  // The state in the making.
  std::vector<Place> open_;
  absl::flat_hash_set<uint64_t> seen_;
  std::vector<uint64_t> reached_;
  bool reached_end_ = false;
};

}  // namespace ternion
