#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/iterate.h"
#include "runtime/text/jinja/print.h"

namespace ternion::jinja {

absl::Status Interpreter::Run(const Body& body, Scope& scope, Text& out) {
  return Execute(body, scope, out).status();
}

Interpreter::FlowOr Interpreter::Execute(const Body& body, Scope& scope, Text& out) {
  const RenderState::Level level(state_);
  TERNION_RETURN_IF_ERROR(level.Check());
  for (const Statement& statement : body) {
    TERNION_RETURN_IF_ERROR(state_.Step(statement.line));
    TERNION_ASSIGN_OR_RETURN(
        const Flow flow,
        std::visit([&](const auto& form) { return Execute(form, scope, out); }, statement.form));
    if (flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

absl::Status Interpreter::CheckOutput(const Text& out) const {
  const int64_t limit = state_.limits().output_bytes;
  if (static_cast<int64_t>(out.size()) <= limit) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("the template shows more than ", limit, " bytes"));
}

absl::Status Interpreter::Show(const Value& value, Text& out) {
  TERNION_RETURN_IF_ERROR(state_.Spend(value.weight()));
  out.Append(Str(value));
  return CheckOutput(out);
}

Interpreter::FlowOr Interpreter::Execute(const Data& form, Scope&, Text& out) {
  TERNION_RETURN_IF_ERROR(state_.Spend(static_cast<int64_t>(form.text.size())));
  out.Append(form.text);
  TERNION_RETURN_IF_ERROR(CheckOutput(out));
  return Flow::kOn;
}

Interpreter::FlowOr Interpreter::Execute(const Output& form, Scope& scope, Text& out) {
  for (const ExpressionPtr& expression : form.values) {
    TERNION_ASSIGN_OR_RETURN(const Value value, Evaluate(*expression, scope));
    TERNION_RETURN_IF_ERROR(Show(value, out));
  }
  return Flow::kOn;
}

// An if has no scope of its own.
Interpreter::FlowOr Interpreter::Execute(const If& form, Scope& scope, Text& out) {
  for (const auto& [condition, body] : form.branches) {
    TERNION_ASSIGN_OR_RETURN(const Value value, Evaluate(*condition, scope));
    if (value.Truth()) return Execute(body, scope, out);
  }
  return Execute(form.otherwise, scope, out);
}

Interpreter::FlowOr Interpreter::Execute(const For& form, Scope& scope, Text& out) {
  TERNION_ASSIGN_OR_RETURN(const Value items, Evaluate(*form.items, scope));
  return RunLoop(form, items, /*depth0=*/0, scope, out);
}

// Those for which the loop's condition holds.
absl::StatusOr<std::shared_ptr<const Sequence>> Interpreter::LoopItems(const For& form, const Value& items,
                                                                       Scope& scope) {
  TERNION_ASSIGN_OR_RETURN(const auto all, Items(state_, items));
  if (form.condition == nullptr) return all;
  std::vector<Value> kept;
  for (const Value& item : all->items) {
    TERNION_ASSIGN_OR_RETURN(Scope* const inner, state_.NewScope(&scope));
    TERNION_RETURN_IF_ERROR(Assign(form.target, item, *inner));
    TERNION_ASSIGN_OR_RETURN(const Value holds, Evaluate(*form.condition, *inner));
    if (holds.Truth()) kept.push_back(item);
  }
  return std::make_shared<const Sequence>(Sequence::Kind::kList, std::move(kept));
}

Interpreter::FlowOr Interpreter::RunLoop(const For& form, const Value& items, int64_t depth0, Scope& scope,
                                         Text& out) {
  const std::shared_ptr<Loop> loop = state_.NewLoop();
  TERNION_ASSIGN_OR_RETURN(loop->sequence, LoopItems(form, items, scope));
  loop->depth0 = depth0;
  loop->recursive = form.recursive ? &form : nullptr;
  loop->scope = &scope;
  bool some_ended =
      false;  // as in Jinja: an iteration that break or continue leaves does not keep `else` away
  for (const Value& item : loop->sequence->items) {
    TERNION_ASSIGN_OR_RETURN(Scope* const inner, state_.NewScope(&scope));
    inner->Set("loop", Value::Of(loop));
    TERNION_RETURN_IF_ERROR(Assign(form.target, item, *inner));
    TERNION_ASSIGN_OR_RETURN(const Flow flow, Execute(form.body, *inner, out));
    if (flow == Flow::kBreak) break;
    some_ended |= flow == Flow::kOn;
    if (loop->index0 + 1 < static_cast<int64_t>(loop->sequence->items.size())) ++loop->index0;
  }
  if (some_ended || form.otherwise.empty()) return Flow::kOn;
  TERNION_ASSIGN_OR_RETURN(Scope* const inner, state_.NewScope(&scope));
  return Execute(form.otherwise, *inner, out);
}

absl::Status Interpreter::Assign(const Target& target, Value value, Scope& scope) {
  if (!target.unpacks && target.attribute.empty()) {
    scope.Set(target.name, std::move(value));
    return absl::OkStatus();
  }
  if (!target.unpacks) {
    const Value* space = scope.Find(target.name);
    if (space == nullptr || space->space() == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", target.name, "' is no namespace, whose attributes alone can be set"));
    }
    space->space()->values.Set(target.attribute, std::move(value));
    return absl::OkStatus();
  }
  TERNION_ASSIGN_OR_RETURN(const auto parts, Items(state_, value));
  if (parts->items.size() != target.parts.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(target.parts.size(), " values are to be unpacked; there are ", parts->items.size()));
  }
  for (size_t i = 0; i < target.parts.size(); ++i) {
    TERNION_RETURN_IF_ERROR(Assign(target.parts[i], parts->items[i], scope));
  }
  return absl::OkStatus();
}

Interpreter::FlowOr Interpreter::Execute(const Set& form, Scope& scope, Text&) {
  TERNION_ASSIGN_OR_RETURN(Value value, Evaluate(*form.value, scope));
  TERNION_RETURN_IF_ERROR(Assign(form.target, std::move(value), scope));
  return Flow::kOn;
}

Interpreter::ValueOr Interpreter::Filtered(const ExpressionPtr& filter, Text body, Scope& scope) {
  if (filter == nullptr) return Value::String(std::move(body));
  block_ = std::move(body);
  return Evaluate(*filter, scope);
}

Interpreter::FlowOr Interpreter::Execute(const SetBlock& form, Scope& scope, Text&) {
  TERNION_ASSIGN_OR_RETURN(Scope* const inner, state_.NewScope(&scope));
  Text body;
  TERNION_ASSIGN_OR_RETURN(const Flow flow, Execute(form.body, *inner, body));
  if (flow != Flow::kOn) return flow;
  TERNION_ASSIGN_OR_RETURN(Value value, Filtered(form.filter, std::move(body), *inner));
  TERNION_RETURN_IF_ERROR(Assign(form.target, std::move(value), scope));
  return Flow::kOn;
}

Interpreter::FlowOr Interpreter::Execute(const FilterBlock& form, Scope& scope, Text& out) {
  TERNION_ASSIGN_OR_RETURN(Scope* const inner, state_.NewScope(&scope));
  Text body;
  TERNION_ASSIGN_OR_RETURN(const Flow flow, Execute(form.body, *inner, body));
  if (flow != Flow::kOn) return flow;
  TERNION_ASSIGN_OR_RETURN(const Value value, Filtered(form.filter, std::move(body), *inner));
  TERNION_RETURN_IF_ERROR(Show(value, out));
  return Flow::kOn;
}

// The values do not see one another.
Interpreter::FlowOr Interpreter::Execute(const With& form, Scope& scope, Text& out) {
  TERNION_ASSIGN_OR_RETURN(Scope* const inner, state_.NewScope(&scope));
  for (const auto& [target, expression] : form.values) {
    TERNION_ASSIGN_OR_RETURN(Value value, Evaluate(*expression, scope));
    TERNION_RETURN_IF_ERROR(Assign(target, std::move(value), *inner));
  }
  return Execute(form.body, *inner, out);
}

Interpreter::FlowOr Interpreter::Execute(const Generation& form, Scope& scope, Text& out) {
  TERNION_ASSIGN_OR_RETURN(Scope* const inner, state_.NewScope(&scope));
  return Execute(form.body, *inner, out);
}

Interpreter::FlowOr Interpreter::Execute(const MacroDefinition& form, Scope& scope, Text&) {
  scope.Set(form.function.name, MakeMacro(form.function, scope));
  return Flow::kOn;
}

Interpreter::FlowOr Interpreter::Execute(const CallBlock& form, Scope& scope, Text& out) {
  const Call& call = std::get<Call>(form.call->form);
  TERNION_ASSIGN_OR_RETURN(const Value callee, Evaluate(*call.callee, scope));
  TERNION_ASSIGN_OR_RETURN(Arguments arguments, EvaluateArguments(call.arguments, scope));
  arguments.named.emplace_back("caller", MakeMacro(form.caller, scope));
  TERNION_ASSIGN_OR_RETURN(const Value value, CallValue(callee, arguments));
  TERNION_RETURN_IF_ERROR(Show(value, out));
  return Flow::kOn;
}

Interpreter::FlowOr Interpreter::Execute(const Break&, Scope&, Text&) { return Flow::kBreak; }
Interpreter::FlowOr Interpreter::Execute(const Continue&, Scope&, Text&) { return Flow::kContinue; }

}  // namespace ternion::jinja
