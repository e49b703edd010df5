#pragma once

#include "absl/status/statusor.h"
#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// Python's operators; all but `and` and `or`, which may leave their right side alone. kInvalidArgument: types that do
// not fit, a division by zero, integers beyond 64 bits.
absl::StatusOr<Value> Apply(RenderState& state, BinaryOp op, const Value& a, const Value& b);
absl::StatusOr<Value> Apply(UnaryOp op, const Value& operand);
absl::StatusOr<bool> Apply(RenderState& state, CompareOp op, const Value& a, const Value& b);

}  // namespace ternion::jinja
