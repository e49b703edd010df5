#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

class RenderState;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// What a template may call: a macro, a method with its object, a function that every template knows.
class Callable {
 public:
  virtual ~Callable() = default;
  virtual absl::StatusOr<Value> Call(RenderState& state, const Arguments& arguments) const = 0;
  virtual std::string_view name() const = 0;
  // As Value::nesting, of what it holds.
  virtual int nesting() const = 0;
};

}  // namespace ternion::jinja
