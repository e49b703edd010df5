#include "runtime/text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/loop.h"
#include "runtime/text/jinja/print.h"

namespace ternion::jinja {
namespace {

constexpr size_t kMostWithoutIndex = 8;
constexpr int64_t kMostWeight = std::numeric_limits<int64_t>::max() / 4;

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

std::string_view NameOf(Sequence::Kind kind) {
  switch (kind) {
    case Sequence::Kind::kList:
      return "list";
    case Sequence::Kind::kRange:
      return "range";
    case Sequence::Kind::kKeys:
      return "dict_keys";
    case Sequence::Kind::kValues:
      return "dict_values";
    case Sequence::Kind::kEntries:
      return "dict_items";
    default:
      return "tuple";
  }
}

// A number as a key: equal ones get one name.
std::string NumberId(const Value& key) {
  if (const auto integer = key.AsInt()) return absl::StrCat("i", *integer);
  const double number = *key.AsNumber();
  const bool whole = std::trunc(number) == number && std::fabs(number) < 9.2e18;
  return whole ? absl::StrCat("i", static_cast<int64_t>(number)) : absl::StrCat("f", FloatRepr(number));
}

std::optional<std::string> TupleId(const Sequence& tuple) {
  std::string id = "t";
  for (const Value& item : tuple.items) {
    const auto part = KeyId(item);
    if (!part.has_value()) return std::nullopt;
    absl::StrAppend(&id, part->size(), ":", *part);
  }
  return id;
}

}  // namespace

Value Value::Undefined(std::string reason) {
  return Value(Missing{std::make_shared<const std::string>(std::move(reason))});
}

Value Value::String(Text text) { return Value(std::make_shared<const Text>(std::move(text))); }

Value Value::List(std::vector<Value> items) {
  return Of(std::make_shared<const Sequence>(Sequence::Kind::kList, std::move(items)));
}

Value Value::Tuple(std::vector<Value> items) {
  return Of(std::make_shared<const Sequence>(Sequence::Kind::kTuple, std::move(items)));
}

std::shared_ptr<const Sequence> Value::shared_sequence() const {
  return std::get<std::shared_ptr<const Sequence>>(data_);
}

std::shared_ptr<Loop> Value::shared_loop() const { return std::get<std::shared_ptr<Loop>>(data_); }

std::optional<int64_t> Value::AsInt() const {
  if (const bool* value = std::get_if<bool>(&data_)) return *value ? 1 : 0;
  if (const int64_t* value = std::get_if<int64_t>(&data_)) return *value;
  return std::nullopt;
}

std::optional<double> Value::AsNumber() const {
  if (const double* value = std::get_if<double>(&data_)) return *value;
  if (const auto integer = AsInt()) return static_cast<double>(*integer);
  return std::nullopt;
}

bool Value::Truth() const {
  if (is_undefined() || is_none()) return false;
  if (const auto number = AsNumber()) return *number != 0;
  if (text() != nullptr) return !text()->empty();
  if (sequence() != nullptr) return !sequence()->items.empty();
  return dict() == nullptr || dict()->size() > 0;
}

std::string_view Value::type_name() const {
  const auto name = Overloaded{
      [](const Missing&) -> std::string_view { return "Undefined"; },
      [](const Nothing&) -> std::string_view { return "None"; },
      [](bool) -> std::string_view { return "bool"; },
      [](int64_t) -> std::string_view { return "int"; },
      [](double) -> std::string_view { return "float"; },
      [](const std::shared_ptr<const Text>&) -> std::string_view { return "str"; },
      [](const std::shared_ptr<const Sequence>& held) { return NameOf(held->kind); },
      [](const std::shared_ptr<const Dict>&) -> std::string_view { return "dict"; },
      [](const std::shared_ptr<Namespace>&) -> std::string_view { return "Namespace"; },
      [](const std::shared_ptr<Iterator>&) -> std::string_view { return "generator"; },
      [](const std::shared_ptr<Loop>&) -> std::string_view { return "LoopContext"; },
      [](const std::shared_ptr<const Callable>&) -> std::string_view { return "function"; },
  };
  return std::visit(name, data_);
}

std::string Value::reason() const {
  const Missing* missing = std::get_if<Missing>(&data_);
  return missing == nullptr || missing->reason == nullptr ? "the value is undefined" : *missing->reason;
}

int Value::nesting() const {
  if (sequence() != nullptr) return sequence()->extent.nesting;
  if (dict() != nullptr) return dict()->extent().nesting;
  if (iterator() != nullptr) return iterator()->extent.nesting;
  return callable() != nullptr ? callable()->nesting() : 0;
}

int64_t Value::weight() const {
  if (text() != nullptr) return 32 + static_cast<int64_t>(text()->size());
  if (sequence() != nullptr) return sequence()->extent.weight;
  if (dict() != nullptr) return dict()->extent().weight;
  return iterator() != nullptr ? iterator()->extent.weight : 32;
}

const void* Value::identity() const {
  return std::visit(
      Overloaded{[](const Missing&) -> const void* { return nullptr; },
                 [](const Nothing&) -> const void* { return nullptr; },
                 [](bool) -> const void* { return nullptr; }, [](int64_t) -> const void* { return nullptr; },
                 [](double) -> const void* { return nullptr; },
                 [](const auto& held) -> const void* { return held.get(); }},
      data_);
}

void Extent::Add(const Value& value) {
  nesting = std::max(nesting, value.nesting() + 1);
  weight = std::min(weight + value.weight(), kMostWeight);
}

Sequence::Sequence(Kind of, std::vector<Value> values) : kind(of), items(std::move(values)) {
  for (const Value& item : items) extent.Add(item);
}

Iterator::Iterator(std::vector<Value> values) : items(std::move(values)) {
  for (const Value& item : items) extent.Add(item);
}

bool Dict::Set(const Value& key, Value value) {
  std::optional<std::string> id = KeyId(key);
  if (!id.has_value()) return false;
  extent_.Add(key);
  extent_.Add(value);
  if (const size_t place = PlaceOf(*id); place < entries_.size()) {
    entries_[place].value = std::move(value);
    return true;
  }
  entries_.push_back({*std::move(id), key, std::move(value)});
  if (entries_.size() <= kMostWithoutIndex) return true;
  for (size_t i = places_.size(); i < entries_.size(); ++i) places_.emplace(entries_[i].id, i);
  return true;
}

const Value* Dict::Find(const Value& key) const {
  const std::optional<std::string> id = KeyId(key);
  return id.has_value() ? FindId(*id) : nullptr;
}

const Value* Dict::Find(std::string_view name) const { return FindId(absl::StrCat("s", ToAbsl(name))); }

const Value* Dict::FindId(std::string_view id) const {
  const size_t place = PlaceOf(id);
  return place < entries_.size() ? &entries_[place].value : nullptr;
}

size_t Dict::PlaceOf(std::string_view id) const {
  if (!places_.empty()) {
    const auto found = places_.find(ToAbsl(id));
    return found == places_.end() ? entries_.size() : found->second;
  }
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.id == id; });
  return static_cast<size_t>(found - entries_.begin());
}

std::optional<std::string> KeyId(const Value& key) {
  if (key.text() != nullptr) return absl::StrCat("s", key.text()->bytes());
  if (key.AsNumber().has_value()) return NumberId(key);
  if (key.is_none()) return "n";
  if (key.is_undefined()) return "u";
  if (const Sequence* sequence = key.sequence()) {
    return sequence->is_tuple() ? TupleId(*sequence) : std::nullopt;
  }
  if (key.dict() != nullptr) return std::nullopt;
  return absl::StrCat("p", reinterpret_cast<uintptr_t>(key.identity()));
}

}  // namespace ternion::jinja
