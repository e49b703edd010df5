#include "runtime/text/jinja/compare.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/iterate.h"

namespace ternion::jinja {
namespace {

bool SameKind(const Sequence& a, const Sequence& b) {
  const auto plain = [](Sequence::Kind kind) {
    return kind == Sequence::Kind::kGroup ? Sequence::Kind::kTuple : kind;
  };
  return plain(a.kind) == plain(b.kind);
}

bool EqualDicts(const Dict& a, const Dict& b) {
  return a.size() == b.size() &&
         std::all_of(a.entries().begin(), a.entries().end(), [&](const Dict::Entry& entry) {
           const Value* other = b.Find(entry.key);
           return other != nullptr && Equals(entry.value, *other);
         });
}

// Integers beyond 2^53 are not all doubles.
bool EqualNumbers(const Value& a, const Value& b) {
  const auto x = a.AsInt();
  const auto y = b.AsInt();
  return x.has_value() && y.has_value() ? *x == *y : *a.AsNumber() == *b.AsNumber();
}

bool LessNumbers(const Value& a, const Value& b) {
  const auto x = a.AsInt();
  const auto y = b.AsInt();
  return x.has_value() && y.has_value() ? *x < *y : *a.AsNumber() < *b.AsNumber();
}

absl::StatusOr<bool> LessSequences(const Sequence& a, const Sequence& b) {
  const auto [x, y] = std::mismatch(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), Equals);
  if (x == a.items.end() || y == b.items.end()) return a.items.size() < b.items.size();
  return Less(*x, *y);
}

absl::StatusOr<bool> TextContains(RenderState& state, const Text& text, const Value& item) {
  if (item.text() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("'in <string>' requires a string as left operand, not ", ToAbsl(item.type_name())));
  }
  TERNION_RETURN_IF_ERROR(SpendOnSearch(state, text, *item.text()));
  return text.bytes().find(item.text()->bytes()) != std::string::npos;
}

absl::StatusOr<bool> DictContains(RenderState& state, const Dict& dict, const Value& item) {
  TERNION_RETURN_IF_ERROR(state.Spend(item.weight()));
  if (item.dict() != nullptr || item.sequence() != nullptr) {
    if (!KeyId(item).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("unhashable type: '", ToAbsl(item.type_name()), "'"));
    }
  }
  return dict.Find(item) != nullptr;
}

}  // namespace

bool Equals(const Value& a, const Value& b) {
  if (a.AsNumber().has_value() && b.AsNumber().has_value()) return EqualNumbers(a, b);
  if (a.text() != nullptr && b.text() != nullptr) return a.text()->bytes() == b.text()->bytes();
  if (a.is_none() || a.is_undefined()) return a.is_none() ? b.is_none() : b.is_undefined();
  if (a.identity() != nullptr && a.identity() == b.identity()) return true;
  if (a.dict() != nullptr && b.dict() != nullptr) return EqualDicts(*a.dict(), *b.dict());
  if (a.sequence() == nullptr || b.sequence() == nullptr || !SameKind(*a.sequence(), *b.sequence()))
    return false;
  const auto& x = a.sequence()->items;
  const auto& y = b.sequence()->items;
  return std::equal(x.begin(), x.end(), y.begin(), y.end(), Equals);
}

absl::StatusOr<bool> Less(const Value& a, const Value& b) {
  if (a.AsNumber().has_value() && b.AsNumber().has_value()) return LessNumbers(a, b);
  if (a.text() != nullptr && b.text() != nullptr) return a.text()->bytes() < b.text()->bytes();
  if (a.sequence() != nullptr && b.sequence() != nullptr && SameKind(*a.sequence(), *b.sequence())) {
    return LessSequences(*a.sequence(), *b.sequence());
  }
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) return absl::InvalidArgumentError(value->reason());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", ToAbsl(a.type_name()), "' and '", ToAbsl(b.type_name()), "' have no order"));
}

absl::StatusOr<bool> Contains(RenderState& state, const Value& container, const Value& item) {
  if (container.text() != nullptr) return TextContains(state, *container.text(), item);
  if (container.dict() != nullptr) return DictContains(state, *container.dict(), item);
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, container));
  for (const Value& candidate : items->items) {
    TERNION_RETURN_IF_ERROR(SpendOnComparison(state, candidate, item));
    if (Equals(candidate, item)) return true;
  }
  return false;
}

absl::Status SpendOnComparison(RenderState& state, const Value& a, const Value& b) {
  return state.Spend(std::min(a.weight(), b.weight()), 1 + std::min(a.nesting(), b.nesting()));
}

// The standard library's search may look at all of `wanted` at every place.
absl::Status SpendOnSearch(RenderState& state, const Text& text, const Text& wanted) {
  return state.Spend(static_cast<int64_t>(text.size()), 1 + static_cast<int64_t>(wanted.size()) / 16);
}

}  // namespace ternion::jinja
