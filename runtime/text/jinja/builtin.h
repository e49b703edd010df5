#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// A call's arguments, by the places of the parameters.
class Bound {
 public:
  // `parameters`: names with spaces between them, in order. One that ends with ? may be absent; behind a * at the end
  // stand any more arguments, which `rest` holds. kInvalidArgument names `function` and the argument.
  static absl::StatusOr<Bound> Bind(std::string_view function, std::string_view parameters,
                                    const Arguments& arguments);

  bool Has(size_t i) const { return parameters_[i].value.has_value(); }
  const Value& operator[](size_t i) const { return *parameters_[i].value; }
  const Arguments& rest() const { return rest_; }

  // Of a parameter's type; `absent` where it is not given. kInvalidArgument.
  absl::StatusOr<int64_t> Int(size_t i, int64_t absent = 0) const;
  absl::StatusOr<Text> String(size_t i, const Text& absent = Text()) const;
  bool Truth(size_t i) const { return Has(i) && (*this)[i].Truth(); }

 private:
  struct Parameter {
    std::string name;
    bool optional;
    std::optional<Value> value;
  };

  Bound(std::string_view function, std::string_view parameters);
  absl::Status AddPositional(size_t i, const Value& value);
  absl::Status AddNamed(const std::string& name, const Value& value);
  absl::Status WrongType(size_t i, std::string_view expected) const;

  std::string function_;
  std::vector<Parameter> parameters_;
  bool takes_more_ = false;
  Arguments rest_;
};

// A filter, a test or a method: what every template can use. `self`: what stands before the | or the dot.
struct Builtin {
  using Function = absl::StatusOr<Value> (*)(RenderState& state, const Value& self, const Bound& arguments);

  std::string_view name;
  std::string_view parameters;  // as Bound::Bind takes them
  Function function;
};

// Null when there is none of this name.
const Builtin* FindBuiltin(absl::Span<const Builtin> table, std::string_view name);

// Binds, spends what a walk over self's characters or items costs, and calls.
absl::StatusOr<Value> Invoke(const Builtin& builtin, RenderState& state, const Value& self,
                             const Arguments& arguments);

// A builtin with its object: what `text.upper` is before it is called. `builtin` is of a table that stays.
std::shared_ptr<const Callable> MakeMethod(const Builtin& builtin, Value self);

// "'text' is to be str; it is None" and the like.
absl::Status WrongType(std::string_view what, std::string_view expected, const Value& value);

}  // namespace ternion::jinja
