#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace ternion {

// A language of byte strings, as a network of recursive automata: rules that consume bytes and call each other. Rules are
// nondeterministic; no rule accepts the empty string.
class Grammar {
 public:
  // More is refused.
  static constexpr size_t kMostNodes = size_t{1} << 15;

  struct Edge {
    uint8_t low = 0;  // bytes low .. high
    uint8_t high = 0;
    int32_t to = 0;
  };
  struct Call {
    int32_t rule = 0;
    int32_t to = 0;  // where it goes on behind the rule
  };
  struct Node {
    std::vector<Edge> edges;
    std::vector<Call> calls;
    std::vector<int32_t> jumps;  // consume nothing
    bool ends = false;           // the end of its rule
    int32_t run = -1;            // AddRun's; -1: none, or its last
    int32_t place = 0;           // in the run
    bool behind_part = false;    // AddPart's
  };
  struct Rule {
    int32_t begin = 0;
    int32_t end = 0;
  };

  // The first rule is the language.
  int32_t AddRule();
  int32_t AddNode();
  void AddBytes(int32_t from, uint8_t low, uint8_t high, int32_t to) {
    nodes_[from].edges.push_back({low, high, to});
  }
  void AddCall(int32_t from, int32_t rule, int32_t to) { nodes_[from].calls.push_back({rule, to}); }
  // A call of a rule that is too short for its places to be looked at alone (Automaton::LocalOf): most tokens are longer.
  void AddPart(int32_t from, int32_t rule, int32_t to) {
    AddCall(from, rule, to);
    nodes_[to].behind_part = true;
  }
  void AddJump(int32_t from, int32_t to) { nodes_[from].jumps.push_back(to); }
  // The node behind these bytes.
  int32_t AddText(int32_t from, std::string_view text);
  // The same to a node that there is; one of the texts, none of them empty, which share what they begin with.
  void AddTexts(int32_t from, std::vector<std::string_view> texts, int32_t to);
  // Code points [low, high] in UTF-8, surrogates left out.
  void AddCodePoints(int32_t from, uint32_t low, uint32_t high, int32_t to);

  // The byte strings from low to high, all of one length, whose bytes behind the first lie in `tail`.
  struct Tail {
    uint8_t low = 0;
    uint8_t high = 0;
  };
  void AddBetween(int32_t from, std::string_view low, std::string_view high, Tail tail, int32_t to);

  // Nodes of a count: all but the last go on alike, each to the next one where another goes to its own next, by at least one
  // byte.
  void AddRun(std::vector<int32_t> nodes);
  // A node that goes on as this one does for so many bytes. Nodes of a run that are further than that from its end share one.
  int32_t Alike(int32_t node, int64_t bytes) const;

  bool too_large() const { return nodes_.size() > kMostNodes; }

  // To be called when all is added. Removes what cannot be finished, so that every beginning which is left has an end.
  // kInvalidArgument: the grammar is too large, no string is in the language, or a rule calls itself before it consumes a byte.
  absl::Status Finish();

  const Node& node(int32_t i) const { return nodes_[i]; }
  const Rule& rule(int32_t i) const { return rules_[i]; }

 private:
  std::vector<bool> FindFinite() const;
  bool CallsItselfFirst() const;
  std::vector<int32_t> FirstCalls(const Rule& rule) const;

  std::vector<Node> nodes_;
  std::vector<Rule> rules_;
  std::vector<std::vector<int32_t>> runs_;
};

}  // namespace ternion
