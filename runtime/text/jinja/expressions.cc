#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/access.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/iterate.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/tests.h"

namespace ternion::jinja {

Interpreter::ValueOr Interpreter::Evaluate(const Expression& expression, Scope& scope) {
  const RenderState::Level level(state_);
  TERNION_RETURN_IF_ERROR(level.Check());
  TERNION_RETURN_IF_ERROR(state_.Step(expression.line));
  TERNION_ASSIGN_OR_RETURN(
      Value value, std::visit([&](const auto& form) { return Evaluate(form, scope); }, expression.form));
  TERNION_RETURN_IF_ERROR(state_.CheckSize(value));
  return value;
}

Interpreter::ValueOr Interpreter::EvaluateOr(const ExpressionPtr& expression, const Value& absent,
                                             Scope& scope) {
  return expression == nullptr ? absent : Evaluate(*expression, scope);
}

Interpreter::ValueOr Interpreter::Evaluate(const Constant& form, Scope&) { return form.value; }

Interpreter::ValueOr Interpreter::Evaluate(const Name& form, Scope& scope) {
  const Value* value = scope.Find(form.name);
  return value != nullptr ? *value : Value::Undefined(absl::StrCat("'", form.name, "' is undefined"));
}

Interpreter::ValueOr Interpreter::Evaluate(const ListDisplay& form, Scope& scope) {
  TERNION_RETURN_IF_ERROR(state_.Spend(static_cast<int64_t>(form.items.size()), sizeof(Value)));
  std::vector<Value> items;
  for (const ExpressionPtr& expression : form.items) {
    TERNION_ASSIGN_OR_RETURN(Value item, Evaluate(*expression, scope));
    items.push_back(std::move(item));
  }
  return form.tuple ? Value::Tuple(std::move(items)) : Value::List(std::move(items));
}

Interpreter::ValueOr Interpreter::Evaluate(const DictDisplay& form, Scope& scope) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [key_form, value_form] : form.items) {
    TERNION_ASSIGN_OR_RETURN(const Value key, Evaluate(*key_form, scope));
    TERNION_ASSIGN_OR_RETURN(Value value, Evaluate(*value_form, scope));
    TERNION_RETURN_IF_ERROR(state_.Spend(static_cast<int64_t>(sizeof(Dict::Entry)) + key.weight()));
    if (!dict->Set(key, std::move(value))) {
      return absl::InvalidArgumentError(absl::StrCat("unhashable type: '", ToAbsl(key.type_name()), "'"));
    }
  }
  return Value::Of(std::shared_ptr<const Dict>(std::move(dict)));
}

Interpreter::ValueOr Interpreter::Evaluate(const Unary& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const Value operand, Evaluate(*form.operand, scope));
  return Apply(form.op, operand);
}

Interpreter::ValueOr Interpreter::Evaluate(const Binary& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const Value left, Evaluate(*form.left, scope));
  if (form.op == BinaryOp::kAnd && !left.Truth()) return left;
  if (form.op == BinaryOp::kOr && left.Truth()) return left;
  TERNION_ASSIGN_OR_RETURN(Value right, Evaluate(*form.right, scope));
  if (form.op == BinaryOp::kAnd || form.op == BinaryOp::kOr) return right;
  return Apply(state_, form.op, left, right);
}

Interpreter::ValueOr Interpreter::Evaluate(const Compare& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(Value left, Evaluate(*form.first, scope));
  for (const auto& [op, operand] : form.rest) {
    TERNION_ASSIGN_OR_RETURN(Value right, Evaluate(*operand, scope));
    TERNION_ASSIGN_OR_RETURN(const bool holds, Apply(state_, op, left, right));
    if (!holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Interpreter::ValueOr Interpreter::Evaluate(const Conditional& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const Value condition, Evaluate(*form.condition, scope));
  if (condition.Truth()) return Evaluate(*form.then, scope);
  return EvaluateOr(
      form.otherwise,
      Value::Undefined("the inline if-expression evaluated to false and no else section was defined."),
      scope);
}

Interpreter::ValueOr Interpreter::Evaluate(const Attribute& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const Value object, Evaluate(*form.object, scope));
  return GetAttribute(state_, object, form.name);
}

Interpreter::ValueOr Interpreter::Evaluate(const Subscript& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const Value object, Evaluate(*form.object, scope));
  TERNION_ASSIGN_OR_RETURN(const Value index, Evaluate(*form.index, scope));
  return GetItem(state_, object, index);
}

Interpreter::ValueOr Interpreter::Evaluate(const Slice& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const Value object, Evaluate(*form.object, scope));
  TERNION_ASSIGN_OR_RETURN(const Value start, EvaluateOr(form.start, Value::None(), scope));
  TERNION_ASSIGN_OR_RETURN(const Value stop, EvaluateOr(form.stop, Value::None(), scope));
  TERNION_ASSIGN_OR_RETURN(const Value step, EvaluateOr(form.step, Value::None(), scope));
  return GetSlice(state_, object, start, stop, step);
}

Interpreter::ValueOr Interpreter::Evaluate(const Filter& form, Scope& scope) {
  // The block's text is taken before the arguments are evaluated, which may run other blocks.
  TERNION_ASSIGN_OR_RETURN(const Value input, form.input == nullptr
                                                  ? Value::String(std::exchange(block_, Text()))
                                                  : Evaluate(*form.input, scope));
  TERNION_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(form.arguments, scope));
  return ApplyFilter(state_, form.name, input, arguments);
}

Interpreter::ValueOr Interpreter::Evaluate(const Test& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const Value input, Evaluate(*form.input, scope));
  TERNION_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(form.arguments, scope));
  TERNION_ASSIGN_OR_RETURN(const bool holds, ApplyTest(state_, form.name, input, arguments));
  return Value::Bool(holds);
}

Interpreter::ValueOr Interpreter::Evaluate(const Call& form, Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const Value callee, Evaluate(*form.callee, scope));
  TERNION_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(form.arguments, scope));
  return CallValue(callee, arguments);
}

absl::StatusOr<Arguments> Interpreter::EvaluateArguments(const CallArguments& form, Scope& scope) {
  Arguments arguments;
  for (const ExpressionPtr& expression : form.positional) {
    TERNION_ASSIGN_OR_RETURN(Value value, Evaluate(*expression, scope));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, expression] : form.named) {
    TERNION_ASSIGN_OR_RETURN(Value value, Evaluate(*expression, scope));
    arguments.named.emplace_back(name, std::move(value));
  }
  if (form.more_positional != nullptr) {
    TERNION_ASSIGN_OR_RETURN(const Value more, Evaluate(*form.more_positional, scope));
    TERNION_ASSIGN_OR_RETURN(const auto items, Items(state_, more));
    TERNION_RETURN_IF_ERROR(state_.Spend(static_cast<int64_t>(items->items.size()), sizeof(Value)));
    arguments.positional.insert(arguments.positional.end(), items->items.begin(), items->items.end());
  }
  if (form.more_named == nullptr) return arguments;
  TERNION_ASSIGN_OR_RETURN(const Value more, Evaluate(*form.more_named, scope));
  if (more.dict() == nullptr) return WrongType("what ** gives arguments of", "a dict", more);
  for (const Dict::Entry& entry : more.dict()->entries()) {
    if (entry.key.text() == nullptr) return WrongType("the name of an argument", "a string", entry.key);
    arguments.named.emplace_back(entry.key.text()->bytes(), entry.value);
  }
  return arguments;
}

Interpreter::ValueOr Interpreter::CallValue(const Value& callee, const Arguments& arguments) {
  if (callee.callable() != nullptr) return callee.callable()->Call(state_, arguments);
  if (callee.loop() != nullptr) return CallLoop(*callee.loop(), arguments);
  if (callee.is_undefined()) return absl::InvalidArgumentError(callee.reason());
  return absl::InvalidArgumentError(
      absl::StrCat("'", ToAbsl(callee.type_name()), "' object is not callable"));
}

Interpreter::ValueOr Interpreter::CallLoop(const Loop& loop, const Arguments& arguments) {
  if (loop.recursive == nullptr) {
    return absl::InvalidArgumentError("the loop must have the 'recursive' marker to be called");
  }
  if (arguments.positional.size() != 1 || !arguments.named.empty()) {
    return absl::InvalidArgumentError("loop() takes one argument");
  }
  Text out;
  TERNION_RETURN_IF_ERROR(
      RunLoop(*loop.recursive, arguments.positional[0], loop.depth0 + 1, *loop.scope, out).status());
  return Value::String(std::move(out));
}

}  // namespace ternion::jinja
