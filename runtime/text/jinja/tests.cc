#include "runtime/text/jinja/tests.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/builtin.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/print.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

template <bool (*holds)(const Value&)>
ValueOr Kind(RenderState&, const Value& self, const Bound&) {
  return Value::Bool(holds(self));
}

bool IsDefined(const Value& value) { return !value.is_undefined(); }
bool IsUndefined(const Value& value) { return value.is_undefined(); }
bool IsNone(const Value& value) { return value.is_none(); }
bool IsBoolean(const Value& value) { return value.is_bool(); }
bool IsTrue(const Value& value) { return value.is_true(); }
bool IsFalse(const Value& value) { return value.is_bool() && !value.is_true(); }
bool IsInteger(const Value& value) { return value.is_int(); }
bool IsFloat(const Value& value) { return value.is_float(); }
bool IsNumber(const Value& value) { return value.AsNumber().has_value(); }
bool IsString(const Value& value) { return value.text() != nullptr; }
bool IsMapping(const Value& value) { return value.dict() != nullptr; }
bool IsCallable(const Value& value) {
  return value.callable() != nullptr || value.loop() != nullptr ||
         value.is_undefined();  // Undefined has __call__
}
bool IsEscaped(const Value&) { return false; }

// What has a length and is indexed. Undefined has both, and fails only when they are used.
bool IsSequence(const Value& value) {
  if (value.sequence() != nullptr) return !value.sequence()->is_view();
  return value.text() != nullptr || value.dict() != nullptr || value.is_undefined();
}

bool IsIterable(const Value& value) {
  return value.sequence() != nullptr || value.text() != nullptr || value.dict() != nullptr ||
         value.is_undefined() || value.iterator() != nullptr || value.loop() != nullptr;
}

template <CompareOp op>
ValueOr Comparison(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const bool result, Apply(state, op, self, arguments[0]));
  return Value::Bool(result);
}

ValueOr Remainder(RenderState& state, const Value& self, const Value& divisor, int64_t wanted) {
  TERNION_ASSIGN_OR_RETURN(const Value remainder, Apply(state, BinaryOp::kMod, self, divisor));
  return Value::Bool(remainder.AsNumber() == static_cast<double>(wanted));
}
ValueOr IsEven(RenderState& state, const Value& self, const Bound&) {
  return Remainder(state, self, Value::Int(2), 0);
}
ValueOr IsOdd(RenderState& state, const Value& self, const Bound&) {
  return Remainder(state, self, Value::Int(2), 1);
}
ValueOr IsDivisible(RenderState& state, const Value& self, const Bound& arguments) {
  return Remainder(state, self, arguments[0], 0);
}

ValueOr HasCase(RenderState& state, const Value& self, std::string_view method) {
  TERNION_RETURN_IF_ERROR(state.Spend(self.weight()));
  return Invoke(*FindTextMethod(method), state, Value::String(Str(self)), {});
}
ValueOr IsLowerCase(RenderState& state, const Value& self, const Bound&) {
  return HasCase(state, self, "islower");
}
ValueOr IsUpperCase(RenderState& state, const Value& self, const Bound&) {
  return HasCase(state, self, "isupper");
}

// Constants are the same object as their equals, as small numbers are in Python.
ValueOr IsSame(RenderState& state, const Value& self, const Bound& arguments) {
  const Value& other = arguments[0];
  const bool objects = self.identity() != nullptr && self.text() == nullptr;
  if (objects || self.type_name() != other.type_name())
    return Value::Bool(self.identity() == other.identity() && objects);
  return Comparison<CompareOp::kEq>(state, self, arguments);
}

ValueOr IsFilterName(RenderState&, const Value& self, const Bound&) {
  return Value::Bool(self.text() != nullptr && HasFilter(self.text()->bytes()));
}
ValueOr IsTestName(RenderState&, const Value& self, const Bound&) {
  return Value::Bool(self.text() != nullptr && HasTest(self.text()->bytes()));
}

constexpr Builtin kTests[] = {
    {"defined", "", Kind<IsDefined>},
    {"undefined", "", Kind<IsUndefined>},
    {"none", "", Kind<IsNone>},
    {"boolean", "", Kind<IsBoolean>},
    {"true", "", Kind<IsTrue>},
    {"false", "", Kind<IsFalse>},
    {"integer", "", Kind<IsInteger>},
    {"float", "", Kind<IsFloat>},
    {"number", "", Kind<IsNumber>},
    {"string", "", Kind<IsString>},
    {"mapping", "", Kind<IsMapping>},
    {"sequence", "", Kind<IsSequence>},
    {"iterable", "", Kind<IsIterable>},
    {"callable", "", Kind<IsCallable>},
    {"escaped", "", Kind<IsEscaped>},
    {"even", "", IsEven},
    {"odd", "", IsOdd},
    {"divisibleby", "num", IsDivisible},
    {"lower", "", IsLowerCase},
    {"upper", "", IsUpperCase},
    {"sameas", "other", IsSame},
    {"filter", "", IsFilterName},
    {"test", "", IsTestName},
    {"in", "seq", Comparison<CompareOp::kIn>},
    {"eq", "other", Comparison<CompareOp::kEq>},
    {"equalto", "other", Comparison<CompareOp::kEq>},
    {"==", "other", Comparison<CompareOp::kEq>},
    {"ne", "other", Comparison<CompareOp::kNe>},
    {"!=", "other", Comparison<CompareOp::kNe>},
    {"lt", "other", Comparison<CompareOp::kLt>},
    {"lessthan", "other", Comparison<CompareOp::kLt>},
    {"<", "other", Comparison<CompareOp::kLt>},
    {"le", "other", Comparison<CompareOp::kLe>},
    {"<=", "other", Comparison<CompareOp::kLe>},
    {"gt", "other", Comparison<CompareOp::kGt>},
    {"greaterthan", "other", Comparison<CompareOp::kGt>},
    {">", "other", Comparison<CompareOp::kGt>},
    {"ge", "other", Comparison<CompareOp::kGe>},
    {">=", "other", Comparison<CompareOp::kGe>},
};

}  // namespace

bool HasTest(std::string_view name) { return FindBuiltin(kTests, name) != nullptr; }

absl::StatusOr<bool> ApplyTest(RenderState& state, std::string_view name, const Value& value,
                               const Arguments& arguments) {
  const Builtin* test = FindBuiltin(kTests, name);
  if (test == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("there is no test '", ToAbsl(name), "'"));
  TERNION_ASSIGN_OR_RETURN(const Value result, Invoke(*test, state, value, arguments));
  return result.Truth();
}

}  // namespace ternion::jinja
