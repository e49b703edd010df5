#include "runtime/text/jinja/builtin.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"

namespace ternion::jinja {
namespace {

absl::Status Wrong(std::string_view function, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(ToAbsl(function), "() ", message));
}

int64_t WalkBytes(const Value& value) {
  if (value.text() != nullptr) return static_cast<int64_t>(value.text()->size());
  if (value.sequence() != nullptr) return 16 * static_cast<int64_t>(value.sequence()->items.size());
  return value.dict() == nullptr ? 0 : 16 * static_cast<int64_t>(value.dict()->size());
}

class Method final : public Callable {
 public:
  Method(const Builtin& builtin, Value self) : builtin_(builtin), self_(std::move(self)) {}

  absl::StatusOr<Value> Call(RenderState& state, const Arguments& arguments) const override {
    return Invoke(builtin_, state, self_, arguments);
  }
  std::string_view name() const override { return builtin_.name; }
  int nesting() const override { return self_.nesting() + 1; }

 private:
  const Builtin& builtin_;
  const Value self_;
};

}  // namespace

Bound::Bound(std::string_view function, std::string_view parameters) : function_(function) {
  for (const absl::string_view name : absl::StrSplit(ToAbsl(parameters), ' ', absl::SkipEmpty())) {
    if (name == "*") {
      takes_more_ = true;
      continue;
    }
    const bool optional = name.back() == '?';
    parameters_.push_back({std::string(name.substr(0, name.size() - (optional ? 1 : 0))), optional, {}});
  }
}

absl::StatusOr<Bound> Bound::Bind(std::string_view function, std::string_view parameters,
                                  const Arguments& arguments) {
  Bound bound(function, parameters);
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    TERNION_RETURN_IF_ERROR(bound.AddPositional(i, arguments.positional[i]));
  }
  for (const auto& [name, value] : arguments.named) TERNION_RETURN_IF_ERROR(bound.AddNamed(name, value));
  for (const Parameter& parameter : bound.parameters_) {
    if (parameter.optional || parameter.value.has_value()) continue;
    return Wrong(function, absl::StrCat("needs the argument '", parameter.name, "'"));
  }
  return bound;
}

absl::Status Bound::AddPositional(size_t i, const Value& value) {
  if (i < parameters_.size()) {
    parameters_[i].value = value;
  } else if (takes_more_) {
    rest_.positional.push_back(value);
  } else {
    return Wrong(function_, absl::StrCat("takes at most ", parameters_.size(), " arguments"));
  }
  return absl::OkStatus();
}

absl::Status Bound::AddNamed(const std::string& name, const Value& value) {
  for (Parameter& parameter : parameters_) {
    if (parameter.name != name) continue;
    if (parameter.value.has_value())
      return Wrong(function_, absl::StrCat("gets the argument '", name, "' twice"));
    parameter.value = value;
    return absl::OkStatus();
  }
  if (!takes_more_) return Wrong(function_, absl::StrCat("has no argument '", name, "'"));
  rest_.named.emplace_back(name, value);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Bound::Int(size_t i, int64_t absent) const {
  if (!Has(i)) return absent;
  const std::optional<int64_t> integer = parameters_[i].value->AsInt();
  if (!integer.has_value()) return WrongType(i, "an integer");
  return *integer;
}

absl::StatusOr<Text> Bound::String(size_t i, const Text& absent) const {
  if (!Has(i)) return absent;
  if (parameters_[i].value->text() == nullptr) return WrongType(i, "a string");
  return *parameters_[i].value->text();
}

absl::Status Bound::WrongType(size_t i, std::string_view expected) const {
  return jinja::WrongType(absl::StrCat("the argument '", parameters_[i].name, "' of ", function_, "()"),
                          expected, *parameters_[i].value);
}

const Builtin* FindBuiltin(absl::Span<const Builtin> table, std::string_view name) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Builtin& builtin) { return builtin.name == name; });
  return found == table.end() ? nullptr : &*found;
}

absl::StatusOr<Value> Invoke(const Builtin& builtin, RenderState& state, const Value& self,
                             const Arguments& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(builtin.name, builtin.parameters, arguments));
  TERNION_RETURN_IF_ERROR(state.Spend(WalkBytes(self)));
  return builtin.function(state, self, bound);
}

std::shared_ptr<const Callable> MakeMethod(const Builtin& builtin, Value self) {
  return std::make_shared<const Method>(builtin, std::move(self));
}

absl::Status WrongType(std::string_view what, std::string_view expected, const Value& value) {
  if (value.is_undefined()) return absl::InvalidArgumentError(value.reason());
  return absl::InvalidArgumentError(absl::StrCat(ToAbsl(what), " is to be ", ToAbsl(expected),
                                                 "; it is of type ", ToAbsl(value.type_name())));
}

}  // namespace ternion::jinja
