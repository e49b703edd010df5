#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// The tests of `is`: those of Jinja 3.1.
bool HasTest(std::string_view name);
// kInvalidArgument: there is no such test, or its arguments do not fit.
absl::StatusOr<bool> ApplyTest(RenderState& state, std::string_view name, const Value& value,
                               const Arguments& arguments);

}  // namespace ternion::jinja
