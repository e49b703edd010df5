#include "runtime/text/jinja/operators.h"

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/compare.h"
#include "runtime/text/jinja/formatting.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/text_operations.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

std::string_view SymbolOf(BinaryOp op) {
  static constexpr std::string_view kSymbols[] = {"and", "or", "+", "-", "*", "/", "//", "%", "**", "~"};
  return kSymbols[static_cast<size_t>(op)];
}

absl::Status Unsupported(BinaryOp op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) return absl::InvalidArgumentError(value->reason());
  }
  return absl::InvalidArgumentError(absl::StrCat("unsupported operand types for ", ToAbsl(SymbolOf(op)),
                                                 ": '", ToAbsl(a.type_name()), "' and '",
                                                 ToAbsl(b.type_name()), "'"));
}

absl::Status Overflow() { return absl::InvalidArgumentError("an integer has more than 64 bits"); }
absl::Status ByZero() { return absl::InvalidArgumentError("division by zero"); }

// Rounds towards minus infinity; `b` is not 0.
int64_t FloorDivide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a % b < 0) != (b < 0) ? quotient - 1 : quotient;
}

double FloorMod(double a, double b) {
  const double remainder = std::fmod(a, b);
  if (remainder == 0) return std::copysign(0.0, b);
  return (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

std::optional<int64_t> Power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (; exponent > 0; --exponent) {
    if (__builtin_mul_overflow(result, base, &result)) return std::nullopt;
  }
  return result;
}

ValueOr ApplyToIntegers(BinaryOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case BinaryOp::kAdd:
      return __builtin_add_overflow(a, b, &result) ? ValueOr(Overflow()) : Value::Int(result);
    case BinaryOp::kSub:
      return __builtin_sub_overflow(a, b, &result) ? ValueOr(Overflow()) : Value::Int(result);
    case BinaryOp::kMul:
      return __builtin_mul_overflow(a, b, &result) ? ValueOr(Overflow()) : Value::Int(result);
    case BinaryOp::kDiv:
      return b == 0 ? ValueOr(ByZero()) : Value::Float(static_cast<double>(a) / static_cast<double>(b));
    case BinaryOp::kPow: {
      if (b < 0) return a == 0 ? ValueOr(ByZero()) : Value::Float(std::pow(a, b));
      const std::optional<int64_t> power = Power(a, b);
      return power.has_value() ? Value::Int(*power) : ValueOr(Overflow());
    }
    default:
      break;
  }
  if (b == 0) return ByZero();
  if (b == -1) {  // the least integer divided by it would trap
    if (op == BinaryOp::kMod) return Value::Int(0);
    return a == std::numeric_limits<int64_t>::min() ? ValueOr(Overflow()) : Value::Int(-a);
  }
  const int64_t quotient = FloorDivide(a, b);
  return Value::Int(op == BinaryOp::kMod ? a - quotient * b : quotient);
}

ValueOr ApplyToFloats(BinaryOp op, double a, double b) {
  const bool divides = op == BinaryOp::kDiv || op == BinaryOp::kFloorDiv || op == BinaryOp::kMod;
  if (divides && b == 0) return ByZero();
  switch (op) {
    case BinaryOp::kAdd:
      return Value::Float(a + b);
    case BinaryOp::kSub:
      return Value::Float(a - b);
    case BinaryOp::kMul:
      return Value::Float(a * b);
    case BinaryOp::kDiv:
      return Value::Float(a / b);
    case BinaryOp::kFloorDiv:
      return Value::Float(std::floor(a / b));
    case BinaryOp::kMod:
      return Value::Float(FloorMod(a, b));
    default:
      return Value::Float(std::pow(a, b));
  }
}

Value Joined(const Text& a, const Text& b) {
  Text text = a;
  text.Append(b);
  return Value::String(std::move(text));
}

ValueOr Concatenate(RenderState& state, const Value& a, const Value& b) {
  TERNION_RETURN_IF_ERROR(state.Spend(a.weight()));
  TERNION_RETURN_IF_ERROR(state.Spend(b.weight()));
  return Joined(Str(a), Str(b));
}

// Strings, lists and tuples add up with their own kind.
ValueOr Add(RenderState& state, const Value& a, const Value& b) {
  if (a.text() != nullptr && b.text() != nullptr) return Concatenate(state, a, b);
  const Sequence* x = a.sequence();
  const Sequence* y = b.sequence();
  const auto adds = [](const Sequence* sequence) {
    return sequence != nullptr &&
           (sequence->kind == Sequence::Kind::kList || sequence->kind == Sequence::Kind::kTuple);
  };
  if (!adds(x) || !adds(y) || x->kind != y->kind) return Unsupported(BinaryOp::kAdd, a, b);
  TERNION_RETURN_IF_ERROR(
      state.Spend(static_cast<int64_t>(x->items.size() + y->items.size()), sizeof(Value)));
  std::vector<Value> items = x->items;
  items.insert(items.end(), y->items.begin(), y->items.end());
  return Value::Of(std::make_shared<const Sequence>(x->kind, std::move(items)));
}

ValueOr RepeatValue(RenderState& state, const Value& value, int64_t times) {
  if (value.text() != nullptr) {
    TERNION_ASSIGN_OR_RETURN(Text text, Repeat(state, *value.text(), times));
    return Value::String(std::move(text));
  }
  const std::vector<Value>& once = value.sequence()->items;
  TERNION_RETURN_IF_ERROR(state.Spend(times, static_cast<int64_t>(once.size() * sizeof(Value))));
  std::vector<Value> items;
  for (int64_t i = 0; i < times && !once.empty(); ++i) items.insert(items.end(), once.begin(), once.end());
  return Value::Of(std::make_shared<const Sequence>(value.sequence()->kind, std::move(items)));
}

ValueOr Multiply(RenderState& state, const Value& a, const Value& b) {
  const auto repeats = [](const Value& value) {
    const Sequence* sequence = value.sequence();
    return value.text() != nullptr || (sequence != nullptr && (sequence->kind == Sequence::Kind::kList ||
                                                               sequence->kind == Sequence::Kind::kTuple));
  };
  if (repeats(a) && b.AsInt().has_value()) return RepeatValue(state, a, *b.AsInt());
  if (repeats(b) && a.AsInt().has_value()) return RepeatValue(state, b, *a.AsInt());
  return Unsupported(BinaryOp::kMul, a, b);
}

ValueOr FormatText(RenderState& state, const Value& format, const Value& values) {
  Arguments arguments;
  if (values.sequence() != nullptr && values.sequence()->kind == Sequence::Kind::kTuple) {
    arguments.positional = values.sequence()->items;
  } else if (values.dict() != nullptr) {
    for (const Dict::Entry& entry : values.dict()->entries()) {
      arguments.named.emplace_back(Str(entry.key).bytes(), entry.value);
    }
  } else {
    arguments.positional = {values};
  }
  TERNION_ASSIGN_OR_RETURN(Text text, FormatPercent(state, *format.text(), arguments));
  return Value::String(std::move(text));
}

absl::StatusOr<bool> LessOrEqual(const Value& a, const Value& b) {
  TERNION_ASSIGN_OR_RETURN(const bool less, Less(a, b));
  return less || Equals(a, b);
}

}  // namespace

ValueOr Apply(RenderState& state, BinaryOp op, const Value& a, const Value& b) {
  if (op == BinaryOp::kConcat) return Concatenate(state, a, b);
  if (a.AsInt().has_value() && b.AsInt().has_value()) return ApplyToIntegers(op, *a.AsInt(), *b.AsInt());
  if (a.AsNumber().has_value() && b.AsNumber().has_value())
    return ApplyToFloats(op, *a.AsNumber(), *b.AsNumber());
  if (op == BinaryOp::kAdd) return Add(state, a, b);
  if (op == BinaryOp::kMul) return Multiply(state, a, b);
  if (op == BinaryOp::kMod && a.text() != nullptr) return FormatText(state, a, b);
  return Unsupported(op, a, b);
}

ValueOr Apply(UnaryOp op, const Value& operand) {
  if (op == UnaryOp::kNot) return Value::Bool(!operand.Truth());
  if (const auto integer = operand.AsInt()) {
    if (op == UnaryOp::kPlus) return Value::Int(*integer);
    return *integer == std::numeric_limits<int64_t>::min() ? ValueOr(Overflow()) : Value::Int(-*integer);
  }
  if (operand.is_float())
    return Value::Float(op == UnaryOp::kPlus ? *operand.AsNumber() : -*operand.AsNumber());
  if (operand.is_undefined()) return absl::InvalidArgumentError(operand.reason());
  return absl::InvalidArgumentError(
      absl::StrCat("bad operand type for a sign: '", ToAbsl(operand.type_name()), "'"));
}

absl::StatusOr<bool> Apply(RenderState& state, CompareOp op, const Value& a, const Value& b) {
  if (op == CompareOp::kIn) return Contains(state, b, a);
  if (op == CompareOp::kNotIn) {
    TERNION_ASSIGN_OR_RETURN(const bool contains, Contains(state, b, a));
    return !contains;
  }
  TERNION_RETURN_IF_ERROR(SpendOnComparison(state, a, b));
  switch (op) {
    case CompareOp::kEq:
      return Equals(a, b);
    case CompareOp::kNe:
      return !Equals(a, b);
    case CompareOp::kLt:
      return Less(a, b);
    case CompareOp::kGt:
      return Less(b, a);
    case CompareOp::kLe:
      return LessOrEqual(a, b);
    default:
      return LessOrEqual(b, a);
  }
}

}  // namespace ternion::jinja
