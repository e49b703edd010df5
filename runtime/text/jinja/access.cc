#include "runtime/text/jinja/access.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/loop.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/text_operations.h"

namespace ternion::jinja {
namespace {

Value Missing(const Value& object, std::string_view kind, absl::string_view name) {
  const std::string type =
      object.is_none() ? "None" : absl::StrCat("'", ToAbsl(object.type_name()), " object'");
  return Value::Undefined(absl::StrCat(type, " has no ", ToAbsl(kind), " ", name));
}

Value MissingAttribute(const Value& object, std::string_view name) {
  return Missing(object, "attribute", absl::StrCat("'", ToAbsl(name), "'"));
}

// What Python's getattr would give; nothing where it fails.
std::optional<Value> OwnAttribute(const Value& object, std::string_view name) {
  if (const Builtin* method = FindMethod(object, name)) return Value::Of(MakeMethod(*method, object));
  if (object.loop() != nullptr) return LoopAttribute(object, name);
  if (object.space() != nullptr) {
    const Value* value = object.space()->values.Find(name);
    return value == nullptr ? std::nullopt : std::optional<Value>(*value);
  }
  const Sequence* sequence = object.sequence();
  if (sequence == nullptr || sequence->kind != Sequence::Kind::kGroup) return std::nullopt;
  if (name == "grouper") return sequence->items[0];
  return name == "list" ? std::optional<Value>(sequence->items[1]) : std::nullopt;
}

std::optional<Value> ItemAt(const Value& object, int64_t index) {
  if (const Sequence* sequence = object.sequence()) {
    const auto size = static_cast<int64_t>(sequence->items.size());
    if (index < -size || index >= size || sequence->is_view()) return std::nullopt;
    return sequence->items[index < 0 ? index + size : index];
  }
  if (object.text() == nullptr) return std::nullopt;
  const std::string_view text = object.text()->bytes();
  const int64_t size = CountCharacters(text);
  if (index < -size || index >= size) return std::nullopt;
  const size_t at = ByteOfCharacter(text, index < 0 ? index + size : index);
  return Value::String(object.text()->Substr(at, at + FirstUtf8(text.substr(at)).bytes));
}

// What Python's object[index] would give; nothing where it fails.
std::optional<Value> OwnItem(const Value& object, const Value& index) {
  if (object.dict() == nullptr)
    return index.AsInt().has_value() ? ItemAt(object, *index.AsInt()) : std::nullopt;
  const Value* value = object.dict()->Find(index);
  return value == nullptr ? std::nullopt : std::optional<Value>(*value);
}

absl::StatusOr<std::optional<int64_t>> SliceEnd(const Value& value) {
  if (value.is_none() || value.AsInt().has_value()) return value.AsInt();
  return WrongType("an end of a slice", "an integer or none", value);
}

absl::StatusOr<Value> SliceSequence(RenderState& state, const Sequence& sequence, const SliceRange& range) {
  TERNION_RETURN_IF_ERROR(state.Spend(range.count, sizeof(Value)));
  std::vector<Value> items;
  for (int64_t i = 0; i < range.count; ++i) items.push_back(sequence.items[range.first + i * range.step]);
  return Value::Of(std::make_shared<const Sequence>(sequence.kind, std::move(items)));
}

}  // namespace

absl::StatusOr<Value> GetAttribute(RenderState&, const Value& object, std::string_view name) {
  if (object.is_undefined()) return absl::InvalidArgumentError(object.reason());
  if (std::optional<Value> attribute = OwnAttribute(object, name)) return *std::move(attribute);
  const Value* item = object.dict() == nullptr ? nullptr : object.dict()->Find(name);
  return item == nullptr ? MissingAttribute(object, name) : *item;
}

absl::StatusOr<Value> GetItem(RenderState& state, const Value& object, const Value& index) {
  if (object.is_undefined()) return absl::InvalidArgumentError(object.reason());
  TERNION_RETURN_IF_ERROR(state.Spend(object.text() != nullptr ? object.weight() : index.weight()));
  if (std::optional<Value> item = OwnItem(object, index)) return *std::move(item);
  if (index.text() == nullptr) return Missing(object, "element", Repr(index));
  std::optional<Value> attribute = OwnAttribute(object, index.text()->bytes());
  return attribute.has_value() ? *std::move(attribute) : MissingAttribute(object, index.text()->bytes());
}

absl::StatusOr<Value> GetSlice(RenderState& state, const Value& object, const Value& start, const Value& stop,
                               const Value& step) {
  if (object.is_undefined()) return absl::InvalidArgumentError(object.reason());
  TERNION_ASSIGN_OR_RETURN(const auto first, SliceEnd(start));
  TERNION_ASSIGN_OR_RETURN(const auto end, SliceEnd(stop));
  TERNION_ASSIGN_OR_RETURN(const auto by, SliceEnd(step));
  if (object.text() != nullptr) {
    TERNION_RETURN_IF_ERROR(state.Spend(object.weight()));
    TERNION_ASSIGN_OR_RETURN(Text text, SliceText(state, *object.text(), first, end, by));
    return Value::String(std::move(text));
  }
  const Sequence* sequence = object.sequence();
  if (sequence == nullptr || sequence->is_view()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", ToAbsl(object.type_name()), "' object cannot be sliced"));
  }
  TERNION_ASSIGN_OR_RETURN(const SliceRange range,
                           RangeOfSlice(static_cast<int64_t>(sequence->items.size()), first, end, by));
  return SliceSequence(state, *sequence, range);
}

absl::StatusOr<Value> GetPath(RenderState& state, const Value& object, const Value& path,
                              const Value& absent) {
  const auto step = [&](const Value& from, const Value& key) -> absl::StatusOr<Value> {
    TERNION_ASSIGN_OR_RETURN(Value item, GetItem(state, from, key));
    return item.is_undefined() && !absent.is_undefined() ? absent : std::move(item);
  };
  if (path.text() == nullptr) return step(object, path);
  Value value = object;
  for (const absl::string_view part : absl::StrSplit(path.text()->bytes(), '.')) {
    int64_t index = 0;
    const bool number = absl::SimpleAtoi(part, &index) && part[0] != '-' && part[0] != '+';
    const Value key = number ? Value::Int(index) : Value::Own({part.data(), part.size()});
    TERNION_ASSIGN_OR_RETURN(value, step(value, key));
  }
  return value;
}

}  // namespace ternion::jinja
