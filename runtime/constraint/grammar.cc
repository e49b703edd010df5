#include "runtime/constraint/grammar.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

// UTF-8 of a code point.
std::string Encoded(uint32_t point) {
  const auto head = [point](uint32_t mark, int shift) { return static_cast<char>(mark | point >> shift); };
  const auto tail = [point](int shift) { return static_cast<char>(0x80 | (point >> shift & 0x3f)); };
  if (point < 0x80) return {head(0, 0)};
  if (point < 0x800) return {head(0xc0, 6), tail(0)};
  if (point < 0x10000) return {head(0xe0, 12), tail(6), tail(0)};
  return {head(0xf0, 18), tail(12), tail(6), tail(0)};
}

}  // namespace

int32_t Grammar::AddRule() {
  const int32_t begin = AddNode(), end = AddNode();
  nodes_[end].ends = true;
  rules_.push_back({begin, end});
  return static_cast<int32_t>(rules_.size()) - 1;
}

// One that is too large is refused as a whole, so it need not grow on.
int32_t Grammar::AddNode() {
  if (!too_large()) nodes_.emplace_back();
  return static_cast<int32_t>(nodes_.size()) - 1;
}

int32_t Grammar::AddText(int32_t from, std::string_view text) {
  for (const char c : text) {
    const int32_t next = AddNode();
    AddBytes(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), next);
    from = next;
  }
  return from;
}

void Grammar::AddTexts(int32_t from, std::vector<std::string_view> texts, int32_t to) {
  std::map<std::pair<int32_t, char>, int32_t> places;
  for (const std::string_view text : texts) {
    if (too_large()) return;
    int32_t node = from;
    for (const char c : text.substr(0, text.size() - 1)) {
      const auto [place, is_new] = places.try_emplace({node, c}, 0);
      if (is_new) place->second = AddText(node, std::string_view(&c, 1));
      node = place->second;
    }
    const auto last = static_cast<uint8_t>(text.back());
    AddBytes(node, last, last, to);
  }
}

void Grammar::AddCodePoints(int32_t from, uint32_t low, uint32_t high, int32_t to) {
  // What is encoded in one length, without surrogates.
  constexpr std::pair<uint32_t, uint32_t> kRanges[] = {
      {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}};
  for (const auto& [first, last] : kRanges) {
    const uint32_t begin = std::max(low, first), end = std::min(high, last);
    if (begin <= end) AddBetween(from, Encoded(begin), Encoded(end), {0x80, 0xbf}, to);
  }
}

void Grammar::AddBetween(int32_t from, std::string_view low, std::string_view high, Tail tail, int32_t to) {
  const auto first = static_cast<uint8_t>(low[0]), last = static_cast<uint8_t>(high[0]);
  if (low.size() == 1) return AddBytes(from, first, last, to);
  const std::string least(low.size() - 1, static_cast<char>(tail.low)),
      most(low.size() - 1, static_cast<char>(tail.high));
  const auto add = [&](int begin, int end, std::string_view low_rest, std::string_view high_rest) {
    if (begin > end) return;
    const int32_t next = AddNode();
    AddBytes(from, static_cast<uint8_t>(begin), static_cast<uint8_t>(end), next);
    AddBetween(next, low_rest, high_rest, tail, to);
  };
  if (first == last) return add(first, last, low.substr(1), high.substr(1));
  const bool cuts_low = low.substr(1) != least, cuts_high = high.substr(1) != most;
  if (cuts_low) add(first, first, low.substr(1), most);
  add(first + (cuts_low ? 1 : 0), last - (cuts_high ? 1 : 0), least, most);
  if (cuts_high) add(last, last, least, high.substr(1));
}

void Grammar::AddRun(std::vector<int32_t> nodes) {
  for (size_t i = 0; i + 1 < nodes.size(); ++i) {
    nodes_[nodes[i]].run = static_cast<int32_t>(runs_.size());
    nodes_[nodes[i]].place = static_cast<int32_t>(i);
  }
  runs_.push_back(std::move(nodes));
}

int32_t Grammar::Alike(int32_t node, int64_t bytes) const {
  const auto [run, place] = std::pair(nodes_[node].run, nodes_[node].place);
  if (run < 0) return node;
  const int64_t far = static_cast<int64_t>(runs_[run].size()) - 2 - bytes;
  return place < far ? runs_[run][static_cast<size_t>(far)] : node;
}

absl::Status Grammar::Finish() {
  if (too_large()) {
    return absl::InvalidArgumentError(absl::StrCat("is too large: its grammar may have ", kMostNodes,
                                                   " states; fewer or shorter counts help"));
  }
  const std::vector<bool> finite = FindFinite();
  const auto rule_finite = [&](int32_t rule) { return finite[rules_[rule].begin]; };
  if (!rule_finite(0)) return absl::InvalidArgumentError("allows no text that ends");
  for (Node& node : nodes_) {
    const auto dead = [&](int32_t to) { return !finite[to]; };
    std::erase_if(node.edges, [&](const Edge& edge) { return dead(edge.to); });
    std::erase_if(node.calls, [&](const Call& call) { return dead(call.to) || !rule_finite(call.rule); });
    std::erase_if(node.jumps, dead);
  }
  if (CallsItselfFirst()) {
    return absl::InvalidArgumentError("refers to itself without anything in between");
  }
  return absl::OkStatus();
}

// The nodes from which their rule's end can be reached: a fixed point, from the ends backwards.
std::vector<bool> Grammar::FindFinite() const {
  std::vector<std::vector<int32_t>> waits(nodes_.size());  // nodes to look at again when this one is found
  for (int32_t i = 0; i < static_cast<int32_t>(nodes_.size()); ++i) {
    for (const Edge& edge : nodes_[i].edges) waits[edge.to].push_back(i);
    for (const int32_t to : nodes_[i].jumps) waits[to].push_back(i);
    for (const Call& call : nodes_[i].calls) {
      waits[call.to].push_back(i);
      waits[rules_[call.rule].begin].push_back(i);
    }
  }
  std::vector<bool> finite(nodes_.size());
  std::vector<int32_t> open;
  const auto find = [&](int32_t node) {
    if (!finite[node]) open.push_back(node);
    finite[node] = true;
  };
  for (const Rule& rule : rules_) find(rule.end);
  while (!open.empty()) {
    const int32_t found = open.back();
    open.pop_back();
    for (const int32_t i : waits[found]) {
      const Node& node = nodes_[i];
      const bool reaches =
          std::any_of(node.edges.begin(), node.edges.end(), [&](const Edge& e) { return finite[e.to]; }) ||
          std::any_of(node.jumps.begin(), node.jumps.end(), [&](int32_t to) { return finite[to]; }) ||
          std::any_of(node.calls.begin(), node.calls.end(),
                      [&](const Call& call) { return finite[call.to] && finite[rules_[call.rule].begin]; });
      if (reaches) find(i);
    }
  }
  return finite;
}

// Whether rules call each other in a circle, each before it consumes a byte: rules without first calls are taken away until
// none is left, or the circles.
bool Grammar::CallsItselfFirst() const {
  std::vector<std::vector<int32_t>> callers(rules_.size());
  std::vector<size_t> calls(rules_.size());
  std::vector<int32_t> open;
  for (int32_t i = 0; i < static_cast<int32_t>(rules_.size()); ++i) {
    const std::vector<int32_t> first = FirstCalls(rules_[i]);
    calls[i] = first.size();
    for (const int32_t called : first) callers[called].push_back(i);
    if (first.empty()) open.push_back(i);
  }
  size_t left = rules_.size();
  for (; !open.empty(); --left) {
    const int32_t done = open.back();
    open.pop_back();
    for (const int32_t caller : callers[done]) {
      if (--calls[caller] == 0) open.push_back(caller);
    }
  }
  return left > 0;
}

std::vector<int32_t> Grammar::FirstCalls(const Rule& rule) const {
  std::vector<int32_t> called, open = {rule.begin}, seen = open;
  while (!open.empty()) {
    const Node& node = nodes_[open.back()];
    open.pop_back();
    for (const Call& call : node.calls) called.push_back(call.rule);
    for (const int32_t to : node.jumps) {
      if (std::find(seen.begin(), seen.end(), to) != seen.end()) continue;
      seen.push_back(to);
      open.push_back(to);
    }
  }
  return called;
}

}  // namespace ternion
