#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/interpreter.h"

namespace ternion::jinja {
namespace {

// The interpreter, the function and the scope live as long as the rendering, and macros do not leave it.
class Macro final : public Callable {
 public:
  Macro(Interpreter& interpreter, const Function& function, Scope& scope)
      : interpreter_(interpreter), function_(function), scope_(scope) {}
  absl::StatusOr<Value> Call(RenderState&, const Arguments& arguments) const override {
    return interpreter_.CallFunction(function_, scope_, arguments);
  }
  std::string_view name() const override { return function_.name; }
  int nesting() const override { return 0; }

 private:
  Interpreter& interpreter_;
  const Function& function_;
  Scope& scope_;
};

// Takes the argument of this name out of `arguments`.
std::optional<Value> TakeNamed(Arguments& arguments, std::string_view name) {
  const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                  [&](const auto& argument) { return argument.first == name; });
  if (found == arguments.named.end()) return std::nullopt;
  Value value = std::move(found->second);
  arguments.named.erase(found);
  return value;
}

absl::Status CheckNothingLeft(const Function& function, const Arguments& arguments) {
  if (!arguments.named.empty() && !function.takes_kwargs) {
    return absl::InvalidArgumentError(absl::StrCat("macro '", function.name, "' takes no keyword argument '",
                                                   arguments.named.front().first, "'"));
  }
  if (arguments.positional.size() <= function.parameters.size() || function.takes_varargs)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("macro '", function.name, "' takes not more than ",
                                                 function.parameters.size(), " argument(s)"));
}

Value VarArgs(const Function& function, const Arguments& arguments) {
  const size_t taken = std::min(function.parameters.size(), arguments.positional.size());
  return Value::Tuple(
      {arguments.positional.begin() + static_cast<std::ptrdiff_t>(taken), arguments.positional.end()});
}

Value KwArgs(const Arguments& arguments) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [name, value] : arguments.named) dict->Set(name, value);
  return Value::Of(std::shared_ptr<const Dict>(std::move(dict)));
}

}  // namespace

Value Interpreter::MakeMacro(const Function& function, Scope& scope) {
  return Value::Of(std::shared_ptr<const Callable>(std::make_shared<Macro>(*this, function, scope)));
}

absl::StatusOr<Value> Interpreter::CallFunction(const Function& function, Scope& scope,
                                                const Arguments& arguments) {
  TERNION_ASSIGN_OR_RETURN(Scope* const inner, state_.NewScope(&scope));
  TERNION_RETURN_IF_ERROR(BindParameters(function, arguments, *inner));
  Text out;
  TERNION_RETURN_IF_ERROR(Execute(function.body, *inner, out).status());
  return Value::String(std::move(out));
}

// A default value may use the parameters before it.
absl::Status Interpreter::BindParameters(const Function& function, Arguments arguments, Scope& scope) {
  std::vector<const Parameter*> absent;
  for (size_t i = 0; i < function.parameters.size(); ++i) {
    const Parameter& parameter = function.parameters[i];
    if (i < arguments.positional.size()) {
      scope.Set(parameter.name, arguments.positional[i]);
    } else if (std::optional<Value> named = TakeNamed(arguments, parameter.name)) {
      scope.Set(parameter.name, *std::move(named));
    } else {
      absent.push_back(&parameter);
    }
  }
  if (function.takes_caller) {
    scope.Set("caller", TakeNamed(arguments, "caller").value_or(Value::Undefined("No caller defined")));
  }
  TERNION_RETURN_IF_ERROR(CheckNothingLeft(function, arguments));
  if (function.takes_varargs) scope.Set("varargs", VarArgs(function, arguments));
  if (function.takes_kwargs) scope.Set("kwargs", KwArgs(arguments));
  for (const Parameter* parameter : absent) {
    const Value missing =
        Value::Undefined(absl::StrCat("parameter '", parameter->name, "' was not provided"));
    TERNION_ASSIGN_OR_RETURN(Value value, EvaluateOr(parameter->value, missing, scope));
    scope.Set(parameter->name, std::move(value));
  }
  return absl::OkStatus();
}

}  // namespace ternion::jinja
