#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/access.h"
#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/iterate.h"
#include "runtime/text/jinja/loop.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/text_operations.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

ValueOr Default(RenderState&, const Value& self, const Bound& arguments) {
  const bool absent = self.is_undefined() || (arguments.Truth(1) && !self.Truth());
  if (!absent) return self;
  return arguments.Has(0) ? arguments[0] : Value::Own("");
}

ValueOr Length(RenderState&, const Value& self, const Bound&) {
  if (self.text() != nullptr) return Value::Int(CountCharacters(self.text()->bytes()));
  if (self.sequence() != nullptr) return Value::Int(static_cast<int64_t>(self.sequence()->items.size()));
  if (self.dict() != nullptr) return Value::Int(static_cast<int64_t>(self.dict()->size()));
  if (self.loop() != nullptr) return Value::Int(static_cast<int64_t>(self.loop()->sequence->items.size()));
  if (self.is_undefined()) return Value::Int(0);
  return absl::InvalidArgumentError(
      absl::StrCat("object of type '", ToAbsl(self.type_name()), "' has no len()"));
}

ValueOr List(RenderState& state, const Value& self, const Bound&) {
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  return Value::List(items->items);
}

ValueOr First(RenderState& state, const Value& self, const Bound&) {
  const Value none = Value::Undefined("No first item, sequence was empty.");
  if (Iterator* iterator = self.iterator()) {
    return iterator->next < iterator->items.size() ? iterator->items[iterator->next++] : none;
  }
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  return items->items.empty() ? none : items->items.front();
}

ValueOr Last(RenderState& state, const Value& self, const Bound&) {
  if (self.iterator() != nullptr) return absl::InvalidArgumentError("'generator' object is not reversible");
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  return items->items.empty() ? Value::Undefined("No last item, sequence was empty.") : items->items.back();
}

ValueOr Reverse(RenderState& state, const Value& self, const Bound&) {
  if (self.text() != nullptr) return GetSlice(state, self, Value::None(), Value::None(), Value::Int(-1));
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  std::vector<Value> reversed(items->items.rbegin(), items->items.rend());
  return self.iterator() != nullptr ? Value::List(std::move(reversed)) : MakeIterator(std::move(reversed));
}

ValueOr EntryItems(RenderState& state, const Value& self, const Bound&) {
  if (self.is_undefined()) return MakeIterator({});
  if (self.dict() == nullptr) return absl::InvalidArgumentError("Can only get item pairs from a mapping.");
  TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(self.dict()->size()), 128));
  return MakeIterator(EntriesOf(*self.dict()));
}

ValueOr Joined(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  std::vector<Text> parts;
  for (const Value& item : items->items) {
    Value part = item;
    if (arguments.Has(1) && !arguments[1].is_none()) {
      TERNION_ASSIGN_OR_RETURN(part, GetPath(state, item, arguments[1]));
    }
    TERNION_RETURN_IF_ERROR(state.Spend(part.weight()));
    parts.push_back(Str(part));
  }
  TERNION_ASSIGN_OR_RETURN(Text text, Join(state, arguments.Has(0) ? Str(arguments[0]) : Text(), parts));
  return Value::String(std::move(text));
}

ValueOr Sum(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  Value sum = arguments.Has(1) ? arguments[1] : Value::Int(0);
  if (sum.text() != nullptr) return absl::InvalidArgumentError("sum() can't sum strings");
  for (const Value& item : items->items) {
    Value part = item;
    if (arguments.Has(0) && !arguments[0].is_none()) {
      TERNION_ASSIGN_OR_RETURN(part, GetPath(state, item, arguments[0]));
    }
    TERNION_ASSIGN_OR_RETURN(sum, Apply(state, BinaryOp::kAdd, sum, part));
  }
  return sum;
}

// Rows of `count` items, the last one filled up.
ValueOr Batch(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const int64_t count, arguments.Int(0));
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  const bool fills = arguments.Has(1) && !arguments[1].is_none();
  if (count < 1) return absl::InvalidArgumentError("batch needs a count of at least 1");
  TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(items->items.size()), 128));
  std::vector<Value> rows;
  std::vector<Value> row;
  for (const Value& item : items->items) {
    row.push_back(item);
    if (static_cast<int64_t>(row.size()) == count) rows.push_back(Value::List(std::exchange(row, {})));
  }
  if (!row.empty()) {
    if (fills) {
      TERNION_RETURN_IF_ERROR(state.Spend(count, sizeof(Value)));
      row.resize(static_cast<size_t>(count), arguments[1]);
    }
    rows.push_back(Value::List(std::move(row)));
  }
  return MakeIterator(std::move(rows));
}

// So many rows, the first ones longer by one where it does not divide.
ValueOr SliceRows(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const int64_t count, arguments.Int(0));
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  if (count < 1) return absl::InvalidArgumentError("slice needs a count of at least 1");
  TERNION_RETURN_IF_ERROR(state.Spend(count + static_cast<int64_t>(items->items.size()), 128));
  const auto length = static_cast<int64_t>(items->items.size());
  std::vector<Value> rows;
  auto at = items->items.begin();
  for (int64_t i = 0; i < count; ++i) {
    const bool longer = i < length % count;
    std::vector<Value> row(at, at + length / count + (longer ? 1 : 0));
    at += static_cast<std::ptrdiff_t>(row.size());
    if (arguments.Has(1) && !arguments[1].is_none() && !longer) row.push_back(arguments[1]);
    rows.push_back(Value::List(std::move(row)));
  }
  return MakeIterator(std::move(rows));
}

// An item of a dict is no attribute.
ValueOr AttributeOf(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text name, arguments.String(0));
  const bool only_item = self.dict() != nullptr && FindMethod(self, name.bytes()) == nullptr;
  if (only_item) return Value::Undefined(absl::StrCat("'dict object' has no attribute '", name.bytes(), "'"));
  return GetAttribute(state, self, name.bytes());
}

constexpr Builtin kFilters[] = {
    {"attr", "name", AttributeOf},
    {"batch", "linecount fill_with?", Batch},
    {"count", "", Length},
    {"d", "default_value? boolean?", Default},
    {"default", "default_value? boolean?", Default},
    {"first", "", First},
    {"items", "", EntryItems},
    {"join", "d? attribute?", Joined},
    {"last", "", Last},
    {"length", "", Length},
    {"list", "", List},
    {"reverse", "", Reverse},
    {"slice", "slices fill_with?", SliceRows},
    {"sum", "attribute? start?", Sum},
};

}  // namespace

absl::Span<const Builtin> SequenceFilters() { return kFilters; }

}  // namespace ternion::jinja
