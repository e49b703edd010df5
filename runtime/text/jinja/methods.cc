#include "runtime/text/jinja/methods.h"

#include <algorithm>
#include <utility>

#include "kernels/status.h"
#include "runtime/text/jinja/compare.h"
#include "runtime/text/jinja/iterate.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

Value View(Sequence::Kind kind, std::vector<Value> items) {
  return Value::Of(std::make_shared<const Sequence>(kind, std::move(items)));
}

ValueOr DictGet(RenderState&, const Value& self, const Bound& arguments) {
  if (const Value* value = self.dict()->Find(arguments[0])) return *value;
  return arguments.Has(1) ? arguments[1] : Value::None();
}

ValueOr DictItems(RenderState& state, const Value& self, const Bound&) {
  TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(self.dict()->size()), 128));
  return View(Sequence::Kind::kEntries, EntriesOf(*self.dict()));
}

ValueOr DictKeys(RenderState& state, const Value& self, const Bound&) {
  TERNION_ASSIGN_OR_RETURN(const auto keys, Items(state, self));
  return View(Sequence::Kind::kKeys, keys->items);
}

ValueOr DictValues(RenderState&, const Value& self, const Bound&) {
  std::vector<Value> values;
  for (const Dict::Entry& entry : self.dict()->entries()) values.push_back(entry.value);
  return View(Sequence::Kind::kValues, std::move(values));
}

// A value never changes, so that it is its own copy.
ValueOr Copy(RenderState&, const Value& self, const Bound&) { return self; }

ValueOr ListCount(RenderState& state, const Value& self, const Bound& arguments) {
  int64_t count = 0;
  for (const Value& item : self.sequence()->items) {
    TERNION_RETURN_IF_ERROR(SpendOnComparison(state, item, arguments[0]));
    if (Equals(item, arguments[0])) ++count;
  }
  return Value::Int(count);
}

ValueOr ListIndex(RenderState& state, const Value& self, const Bound& arguments) {
  const std::vector<Value>& items = self.sequence()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    TERNION_RETURN_IF_ERROR(SpendOnComparison(state, items[i], arguments[0]));
    if (Equals(items[i], arguments[0])) return Value::Int(static_cast<int64_t>(i));
  }
  return absl::InvalidArgumentError("index(): the value is not in the list");
}

constexpr Builtin kDictMethods[] = {{"get", "key default?", DictGet},
                                    {"items", "", DictItems},
                                    {"keys", "", DictKeys},
                                    {"values", "", DictValues},
                                    {"copy", "", Copy}};

constexpr Builtin kListMethods[] = {
    {"count", "value", ListCount}, {"index", "value", ListIndex}, {"copy", "", Copy}};

}  // namespace

const Builtin* FindMethod(const Value& self, std::string_view name) {
  if (self.text() != nullptr) return FindTextMethod(name);
  if (self.dict() != nullptr) return FindBuiltin(kDictMethods, name);
  const bool list = self.sequence() != nullptr && !self.sequence()->is_view();
  return list ? FindBuiltin(kListMethods, name) : nullptr;
}

}  // namespace ternion::jinja
