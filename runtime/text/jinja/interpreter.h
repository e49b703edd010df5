#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/text.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// Runs a template's statements. Macros that it hands out refer to it, to the template and to the state's scopes.
class Interpreter {
 public:
  explicit Interpreter(RenderState& state) : state_(state) {}
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Appends what the body shows to `out`.
  absl::Status Run(const Body& body, Scope& scope, Text& out);
  // Calls a macro that was defined in `scope`.
  absl::StatusOr<Value> CallFunction(const Function& function, Scope& scope, const Arguments& arguments);

 private:
  using ValueOr = absl::StatusOr<Value>;
  enum class Flow : uint8_t { kOn, kBreak, kContinue };
  using FlowOr = absl::StatusOr<Flow>;

  // Statements: what comes next is up to the loop around them.
  FlowOr Execute(const Body& body, Scope& scope, Text& out);
  FlowOr Execute(const Data& form, Scope& scope, Text& out);
  FlowOr Execute(const Output& form, Scope& scope, Text& out);
  FlowOr Execute(const If& form, Scope& scope, Text& out);
  FlowOr Execute(const For& form, Scope& scope, Text& out);
  FlowOr Execute(const Set& form, Scope& scope, Text& out);
  FlowOr Execute(const SetBlock& form, Scope& scope, Text& out);
  FlowOr Execute(const With& form, Scope& scope, Text& out);
  FlowOr Execute(const MacroDefinition& form, Scope& scope, Text& out);
  FlowOr Execute(const CallBlock& form, Scope& scope, Text& out);
  FlowOr Execute(const FilterBlock& form, Scope& scope, Text& out);
  FlowOr Execute(const Generation& form, Scope& scope, Text& out);
  FlowOr Execute(const Break& form, Scope& scope, Text& out);
  FlowOr Execute(const Continue& form, Scope& scope, Text& out);

  FlowOr RunLoop(const For& form, const Value& items, int64_t depth0, Scope& scope, Text& out);
  absl::StatusOr<std::shared_ptr<const Sequence>> LoopItems(const For& form, const Value& items,
                                                            Scope& scope);
  absl::Status Assign(const Target& target, Value value, Scope& scope);
  ValueOr Filtered(const ExpressionPtr& filter, Text body, Scope& scope);
  absl::Status Show(const Value& value, Text& out);
  absl::Status CheckOutput(const Text& out) const;

  ValueOr Evaluate(const Expression& expression, Scope& scope);
  ValueOr Evaluate(const Constant& form, Scope& scope);
  ValueOr Evaluate(const Name& form, Scope& scope);
  ValueOr Evaluate(const ListDisplay& form, Scope& scope);
  ValueOr Evaluate(const DictDisplay& form, Scope& scope);
  ValueOr Evaluate(const Unary& form, Scope& scope);
  ValueOr Evaluate(const Binary& form, Scope& scope);
  ValueOr Evaluate(const Compare& form, Scope& scope);
  ValueOr Evaluate(const Conditional& form, Scope& scope);
  ValueOr Evaluate(const Attribute& form, Scope& scope);
  ValueOr Evaluate(const Subscript& form, Scope& scope);
  ValueOr Evaluate(const Slice& form, Scope& scope);
  ValueOr Evaluate(const Call& form, Scope& scope);
  ValueOr Evaluate(const Filter& form, Scope& scope);
  ValueOr Evaluate(const Test& form, Scope& scope);
  ValueOr EvaluateOr(const ExpressionPtr& expression, const Value& absent, Scope& scope);

  absl::StatusOr<Arguments> EvaluateArguments(const CallArguments& form, Scope& scope);
  ValueOr CallValue(const Value& callee, const Arguments& arguments);
  ValueOr CallLoop(const Loop& loop, const Arguments& arguments);
  absl::Status BindParameters(const Function& function, Arguments arguments, Scope& scope);
  Value MakeMacro(const Function& function, Scope& scope);

  RenderState& state_;
  Text block_;  // what the filter of a block is applied to
};

}  // namespace ternion::jinja
