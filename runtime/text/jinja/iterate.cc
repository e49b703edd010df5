#include "runtime/text/jinja/iterate.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"

namespace ternion::jinja {
namespace {

std::vector<Value> CharactersOf(const Text& text) {
  std::vector<Value> items;
  size_t at = 0;
  for (const std::string_view character : Characters(text.bytes())) {
    items.push_back(Value::String(text.Substr(at, at + character.size())));
    at += character.size();
  }
  return items;
}

std::vector<Value> KeysOf(const Dict& dict) {
  std::vector<Value> keys;
  for (const Dict::Entry& entry : dict.entries()) keys.push_back(entry.key);
  return keys;
}

// Of what is neither a string nor a sequence.
absl::StatusOr<std::vector<Value>> ItemsOf(const Value& value) {
  if (value.is_undefined()) return std::vector<Value>();
  if (value.dict() != nullptr) return KeysOf(*value.dict());
  if (Iterator* iterator = value.iterator()) {
    const size_t next = std::exchange(iterator->next, iterator->items.size());
    return std::vector<Value>(iterator->items.begin() + static_cast<std::ptrdiff_t>(next),
                              iterator->items.end());
  }
  return absl::InvalidArgumentError(absl::StrCat("'", ToAbsl(value.type_name()), "' object is not iterable"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Sequence>> Items(RenderState& state, const Value& value) {
  if (value.sequence() != nullptr) return value.shared_sequence();
  std::vector<Value> items;
  if (const Text* text = value.text()) {
    TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(text->size()), sizeof(Value) + sizeof(Text)));
    items = CharactersOf(*text);
  } else {
    TERNION_ASSIGN_OR_RETURN(items, ItemsOf(value));
    TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(items.size()), sizeof(Value)));
  }
  return std::make_shared<const Sequence>(Sequence::Kind::kList, std::move(items));
}

Value MakeIterator(std::vector<Value> items) {
  return Value::Of(std::make_shared<Iterator>(std::move(items)));
}

std::vector<Value> EntriesOf(const Dict& dict) {
  std::vector<Value> entries;
  for (const Dict::Entry& entry : dict.entries()) entries.push_back(Value::Tuple({entry.key, entry.value}));
  return entries;
}

}  // namespace ternion::jinja
