#include <algorithm>
#include <utility>

#include "absl/strings/str_split.h"
#include "kernels/status.h"
#include "runtime/text/jinja/access.h"
#include "runtime/text/jinja/compare.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/iterate.h"
#include "runtime/text/jinja/letter_case.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

Value IgnoreCase(const Value& value) {
  return value.text() == nullptr ? value : Value::Own(ToLower(value.text()->bytes()));
}

// How the filters of this file look at an item.
struct KeyRule {
  Value path;  // undefined: the item itself
  bool case_sensitive = false;
  Value absent;  // in place of what is undefined

  ValueOr KeyOf(RenderState& state, const Value& item) const {
    TERNION_ASSIGN_OR_RETURN(const Value raw, RawKeyOf(state, item));
    TERNION_RETURN_IF_ERROR(state.Spend(raw.text() == nullptr ? 0 : raw.weight()));
    return case_sensitive ? raw : IgnoreCase(raw);
  }
  ValueOr RawKeyOf(RenderState& state, const Value& item) const {
    if (path.is_undefined() || path.is_none()) return item;
    return GetPath(state, item, path, absent);
  }
};

KeyRule RuleOf(const Bound& arguments, size_t case_sensitive, size_t attribute) {
  KeyRule rule;
  rule.case_sensitive = arguments.Truth(case_sensitive);
  if (arguments.Has(attribute)) rule.path = arguments[attribute];
  return rule;
}

using Keyed = std::vector<std::pair<Value, Value>>;  // (key, item)

absl::StatusOr<Keyed> WithKeys(RenderState& state, const Value& values, const KeyRule& rule) {
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, values));
  Keyed keyed;
  for (const Value& item : items->items) {
    TERNION_ASSIGN_OR_RETURN(Value key, rule.KeyOf(state, item));
    keyed.emplace_back(std::move(key), item);
  }
  return keyed;
}

// Stable, in either direction, as Python's sorted().
absl::Status Sort(RenderState& state, Keyed& keyed, bool reverse) {
  int64_t rounds = 1;
  for (size_t size = keyed.size(); size > 1; size /= 2) ++rounds;
  for (const auto& pair : keyed) {
    TERNION_RETURN_IF_ERROR(state.Spend(pair.first.weight(), rounds * (1 + pair.first.nesting())));
  }
  absl::Status failure;
  const auto before = [&](const auto& a, const auto& b) {
    const absl::StatusOr<bool> less = reverse ? Less(b.first, a.first) : Less(a.first, b.first);
    failure.Update(less.status());
    return less.ok() && *less;
  };
  std::stable_sort(keyed.begin(), keyed.end(), before);
  return failure;
}

Value ItemsList(Keyed keyed) {
  std::vector<Value> items;
  for (auto& pair : keyed) items.push_back(std::move(pair.second));
  return Value::List(std::move(items));
}

// By several attributes: "age,name".
absl::StatusOr<Keyed> WithSortKeys(RenderState& state, const Value& values, const KeyRule& rule) {
  const Text* path = rule.path.text();
  if (path == nullptr || path->bytes().find(',') == std::string::npos) return WithKeys(state, values, rule);
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, values));
  Keyed keyed;
  for (const Value& item : items->items) {
    std::vector<Value> keys;
    for (const absl::string_view part : absl::StrSplit(path->bytes(), ',')) {
      const KeyRule one{Value::Own({part.data(), part.size()}), rule.case_sensitive, rule.absent};
      TERNION_ASSIGN_OR_RETURN(Value key, one.KeyOf(state, item));
      keys.push_back(std::move(key));
    }
    keyed.emplace_back(Value::List(std::move(keys)), item);
  }
  return keyed;
}

ValueOr Sorted(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(Keyed keyed, WithSortKeys(state, self, RuleOf(arguments, 1, 2)));
  TERNION_RETURN_IF_ERROR(Sort(state, keyed, arguments.Truth(0)));
  return ItemsList(std::move(keyed));
}

ValueOr DictSorted(RenderState& state, const Value& self, const Bound& arguments) {
  if (self.dict() == nullptr) return WrongType("what dictsort is given", "a dict", self);
  TERNION_ASSIGN_OR_RETURN(const Text by, arguments.String(1, Text::Own("key")));
  const bool by_value = by.bytes() == "value";
  if (!by_value && by.bytes() != "key")
    return absl::InvalidArgumentError("dictsort's by is to be key or value");
  const KeyRule rule{Value::Int(by_value ? 1 : 0), arguments.Truth(0), Value()};
  TERNION_ASSIGN_OR_RETURN(Keyed keyed, WithKeys(state, Value::List(EntriesOf(*self.dict())), rule));
  TERNION_RETURN_IF_ERROR(Sort(state, keyed, arguments.Truth(2)));
  return ItemsList(std::move(keyed));
}

ValueOr Unique(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Keyed keyed, WithKeys(state, self, RuleOf(arguments, 0, 1)));
  Dict seen;
  std::vector<Value> items;
  for (const auto& [key, item] : keyed) {
    TERNION_RETURN_IF_ERROR(state.Spend(key.weight()));
    if (seen.Find(key) != nullptr) continue;
    if (!seen.Set(key, Value::None())) return WrongType("what unique compares", "hashable", key);
    items.push_back(item);
  }
  return MakeIterator(std::move(items));
}

// The first of the least, or of the greatest.
ValueOr Extreme(RenderState& state, const Value& self, const Bound& arguments, bool greatest) {
  TERNION_ASSIGN_OR_RETURN(const Keyed keyed, WithKeys(state, self, RuleOf(arguments, 0, 1)));
  if (keyed.empty()) return Value::Undefined("No aggregated item, sequence was empty.");
  const std::pair<Value, Value>* best = &keyed.front();
  for (const auto& candidate : keyed) {
    TERNION_RETURN_IF_ERROR(SpendOnComparison(state, candidate.first, best->first));
    TERNION_ASSIGN_OR_RETURN(const bool better, greatest ? Less(best->first, candidate.first)
                                                         : Less(candidate.first, best->first));
    if (better) best = &candidate;
  }
  return best->second;
}
ValueOr Min(RenderState& state, const Value& self, const Bound& arguments) {
  return Extreme(state, self, arguments, /*greatest=*/false);
}
ValueOr Max(RenderState& state, const Value& self, const Bound& arguments) {
  return Extreme(state, self, arguments, /*greatest=*/true);
}

Value Group(Value grouper, std::vector<Value> items) {
  return Value::Of(std::make_shared<const Sequence>(
      Sequence::Kind::kGroup, std::vector<Value>{std::move(grouper), Value::List(std::move(items))}));
}

ValueOr GroupBy(RenderState& state, const Value& self, const Bound& arguments) {
  KeyRule rule = RuleOf(arguments, 2, 0);
  if (arguments.Has(1) && !arguments[1].is_none()) rule.absent = arguments[1];
  TERNION_ASSIGN_OR_RETURN(Keyed keyed, WithKeys(state, self, rule));
  TERNION_RETURN_IF_ERROR(Sort(state, keyed, /*reverse=*/false));
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    std::vector<Value> items;
    size_t end = begin;
    for (; end < keyed.size() && Equals(keyed[begin].first, keyed[end].first); ++end) {
      items.push_back(keyed[end].second);
    }
    TERNION_ASSIGN_OR_RETURN(Value grouper, rule.RawKeyOf(state, items.front()));
    groups.push_back(Group(std::move(grouper), std::move(items)));
    begin = end;
  }
  return Value::List(std::move(groups));
}

constexpr Builtin kFilters[] = {
    {"dictsort", "case_sensitive? by? reverse?", DictSorted},
    {"groupby", "attribute default? case_sensitive?", GroupBy},
    {"max", "case_sensitive? attribute?", Max},
    {"min", "case_sensitive? attribute?", Min},
    {"sort", "reverse? case_sensitive? attribute?", Sorted},
    {"unique", "case_sensitive? attribute?", Unique},
};

}  // namespace

absl::Span<const Builtin> OrderFilters() { return kFilters; }

}  // namespace ternion::jinja
