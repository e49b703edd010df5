#include "runtime/constraint/json_rules.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/text/utf8.h"

namespace ternion {
namespace {

constexpr int kMostIndent = 24, kMostDigits = 15, kMostExponent = 2;
constexpr uint32_t kFirstPrintable = 0x20, kLastCodePoint = 0x10ffff;

// Calls add(low, high) for the ranges of characters that stand in a string as they are, but for `excluded`, in order.
template <typename Add>
void ForPlainRanges(std::vector<uint32_t> excluded, Add add) {
  excluded.insert(excluded.end(), {'"', '\\'});
  std::sort(excluded.begin(), excluded.end());
  uint32_t next = kFirstPrintable;
  for (const uint32_t point : excluded) {
    if (point > next) add(next, point - 1);
    next = std::max(next, point + 1);
  }
  add(next, kLastCodePoint);
}

std::vector<uint32_t> CodePointsOf(std::string_view text) {
  std::vector<uint32_t> points;
  while (!text.empty()) {
    points.push_back(FirstCodePoint(text));
    text.remove_prefix(FirstUtf8(text).bytes);
  }
  return points;
}

}  // namespace

bool JsonRules::Make(std::optional<int32_t>& place) {
  if (place.has_value()) return false;
  place = grammar_->AddRule();
  return true;
}

int32_t JsonRules::Character() {
  if (Make(character_)) {
    const Grammar::Rule rule = grammar_->rule(*character_);
    ForPlainRanges(
        {}, [&](uint32_t low, uint32_t high) { grammar_->AddCodePoints(rule.begin, low, high, rule.end); });
    AddEscapes(rule.begin, rule.end);
  }
  return *character_;
}

// A pair of surrogates is one character, and there is no half of one.
void JsonRules::AddEscapes(int32_t from, int32_t to) {
  Grammar& g = *grammar_;
  const int32_t escape = g.AddText(from, "\\"), point = g.AddText(escape, "u");
  for (const char c : std::string_view("\"\\/bfnrt")) g.AddTexts(escape, {std::string_view(&c, 1)}, to);
  const auto hex = [&g](int32_t node, int32_t next) {
    g.AddBytes(node, '0', '9', next);
    g.AddBytes(node, 'a', 'f', next);
    g.AddBytes(node, 'A', 'F', next);
  };
  const int32_t second = g.AddNode(), third = g.AddNode(), fourth = g.AddNode();
  g.AddBytes(point, '0', '9', second);
  for (const auto& [low, high] : {std::pair('a', 'c'), {'e', 'f'}, {'A', 'C'}, {'E', 'F'}}) {
    g.AddBytes(point, static_cast<uint8_t>(low), static_cast<uint8_t>(high), second);
  }
  hex(second, third);
  hex(third, fourth);
  hex(fourth, to);
  const int32_t d = g.AddNode(), high3 = g.AddNode(), high4 = g.AddNode(), between = g.AddNode();
  g.AddTexts(point, {"d", "D"}, d);
  g.AddBytes(d, '0', '7', third);
  g.AddTexts(d, {"8", "9", "a", "b", "A", "B"}, high3);
  hex(high3, high4);
  hex(high4, between);
  const int32_t low1 = g.AddText(between, "\\u"), low2 = g.AddNode(), low3 = g.AddNode();
  g.AddTexts(low1, {"d", "D"}, low2);
  g.AddTexts(low2, {"c", "d", "e", "f", "C", "D", "E", "F"}, low3);
  hex(low3, fourth);
}

int32_t JsonRules::Space() {
  if (Make(space_)) {
    const auto [begin, end] = grammar_->rule(*space_);
    grammar_->AddBytes(begin, ' ', ' ', end);
    int32_t node = grammar_->AddText(begin, "\n");
    for (int i = 0; i <= kMostIndent; ++i) {
      grammar_->AddJump(node, end);
      if (i < kMostIndent) node = grammar_->AddText(node, " ");
    }
  }
  return *space_;
}

void JsonRules::AddSpace(int32_t from, int32_t to) {
  grammar_->AddJump(from, to);
  grammar_->AddCall(from, Space(), to);
}

void JsonRules::AddComma(int32_t from, int32_t to) { AddSpace(grammar_->AddText(from, ","), to); }

int32_t JsonRules::AddColon(int32_t from) {
  const int32_t colon = grammar_->AddText(from, ":"), behind = grammar_->AddText(colon, " ");
  grammar_->AddJump(colon, behind);
  return behind;
}

void JsonRules::AddString(int32_t from, int64_t least, std::optional<int64_t> most, int32_t to) {
  int32_t node = grammar_->AddText(from, "\"");
  std::vector<int32_t> too_short, enough;
  for (int64_t i = 0; !grammar_->too_large(); ++i) {
    (i < least ? too_short : enough).push_back(node);
    if (i >= least) grammar_->AddBytes(node, '"', '"', to);
    if (i == most) break;
    const int32_t next = i < least || most.has_value() ? grammar_->AddNode() : node;
    grammar_->AddPart(node, Character(), next);
    if (next == node) break;
    node = next;
  }
  if (!enough.empty()) too_short.push_back(enough[0]);
  grammar_->AddRun(std::move(too_short));
  grammar_->AddRun(std::move(enough));
}

int32_t JsonRules::String() {
  if (Make(string_)) {
    const auto [begin, end] = grammar_->rule(*string_);
    AddString(begin, 0, std::nullopt, end);
  }
  return *string_;
}

// Along what the taken ones begin with, characters stand as they are, so that none is spelled in another way.
void JsonRules::AddOtherString(int32_t from, const std::vector<std::string>& taken, int32_t to) {
  struct Place {
    int32_t node = 0;
    bool taken = false;
    std::map<uint32_t, size_t> next{};
  };
  std::vector<Place> places = {{grammar_->AddText(from, "\"")}};
  for (const std::string& text : taken) {
    size_t at = 0;
    for (const uint32_t point : CodePointsOf(text)) {
      const auto [next, is_new] = places[at].next.try_emplace(point, places.size());
      at = next->second;
      if (is_new) places.push_back({grammar_->AddNode()});
    }
    places[at].taken = true;
  }
  const int32_t other = grammar_->AddNode();
  grammar_->AddPart(other, Character(), other);
  grammar_->AddBytes(other, '"', '"', to);
  for (const Place& place : places) {
    if (!place.taken) grammar_->AddBytes(place.node, '"', '"', to);
    std::vector<uint32_t> along;
    for (const auto& [point, next] : place.next) {
      along.push_back(point);
      const bool plain = point >= kFirstPrintable && point != '"' && point != '\\';
      if (plain) grammar_->AddCodePoints(place.node, point, point, places[next].node);
    }
    ForPlainRanges(
        along, [&](uint32_t low, uint32_t high) { grammar_->AddCodePoints(place.node, low, high, other); });
  }
}

void JsonRules::AddDigits(int32_t from, int64_t least, int64_t most, int32_t to) {
  for (int64_t i = 1; i <= most; ++i) {
    const int32_t next = grammar_->AddNode();
    grammar_->AddBytes(from, '0', '9', next);
    if (i >= least) grammar_->AddJump(next, to);
    from = next;
  }
}

int32_t JsonRules::Number() {
  if (Make(number_)) {
    Grammar& g = *grammar_;
    const auto [begin, end] = g.rule(*number_);
    const int32_t sign = g.AddText(begin, "-"), whole = g.AddNode(), lead = g.AddNode(),
                  fraction = g.AddNode();
    g.AddJump(begin, sign);
    g.AddBytes(sign, '0', '0', whole);
    g.AddBytes(sign, '1', '9', lead);
    g.AddJump(lead, whole);
    AddDigits(lead, 1, kMostDigits - 1, whole);
    g.AddJump(whole, fraction);
    AddDigits(g.AddText(whole, "."), 1, kMostDigits, fraction);
    g.AddJump(fraction, end);
    const int32_t e = g.AddNode(), power = g.AddNode();
    g.AddTexts(fraction, {"e", "E"}, e);
    g.AddJump(e, power);
    g.AddTexts(e, {"+", "-"}, power);
    AddDigits(power, 1, kMostExponent, end);
  }
  return *number_;
}

void JsonRules::AddInteger(int32_t from, int64_t low, int64_t high, int32_t to) {
  if (low < 0) AddMagnitude(grammar_->AddText(from, "-"), std::max<int64_t>(1, -high), -low, to);
  if (high >= 0) AddMagnitude(from, std::max<int64_t>(0, low), high, to);
}

// By the number of digits.
void JsonRules::AddMagnitude(int32_t from, int64_t low, int64_t high, int32_t to) {
  for (int64_t least = 0, power = 10; least <= high; least = power, power *= 10) {
    const int64_t begin = std::max(low, least), end = std::min(high, power - 1);
    if (begin <= end) grammar_->AddBetween(from, absl::StrCat(begin), absl::StrCat(end), {'0', '9'}, to);
  }
}

int32_t JsonRules::Value() {
  if (Make(value_)) {
    const auto [begin, end] = grammar_->rule(*value_);
    grammar_->AddTexts(begin, {"null", "true", "false"}, end);
    for (const int32_t rule : {String(), Number(), Object(), Array()}) grammar_->AddCall(begin, rule, end);
  }
  return *value_;
}

int32_t JsonRules::Object() {
  if (Make(object_)) {
    Grammar& g = *grammar_;
    const auto [begin, end] = g.rule(*object_);
    const int32_t first = g.AddNode(), key = g.AddNode(), behind = g.AddNode(), value = g.AddNode(),
                  last = g.AddNode();
    AddSpace(g.AddText(begin, "{"), first);
    g.AddBytes(first, '}', '}', end);
    g.AddJump(first, key);
    g.AddCall(key, String(), behind);
    g.AddCall(AddColon(behind), Value(), value);
    AddComma(value, key);
    AddSpace(value, last);
    g.AddBytes(last, '}', '}', end);
  }
  return *object_;
}

int32_t JsonRules::Array() {
  if (Make(array_)) {
    Grammar& g = *grammar_;
    const auto [begin, end] = g.rule(*array_);
    const int32_t first = g.AddNode(), item = g.AddNode(), behind = g.AddNode(), last = g.AddNode();
    AddSpace(g.AddText(begin, "["), first);
    g.AddBytes(first, ']', ']', end);
    g.AddJump(first, item);
    g.AddCall(item, Value(), behind);
    AddComma(behind, item);
    AddSpace(behind, last);
    g.AddBytes(last, ']', ']', end);
  }
  return *array_;
}

}  // namespace ternion
