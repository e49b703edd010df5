#pragma once

#include "absl/status/statusor.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// Python's ==: 1, 1.0 and true are equal; of objects only the same one is.
bool Equals(const Value& a, const Value& b);

// Python's <, between numbers, strings, lists and tuples. kInvalidArgument for other pairs.
absl::StatusOr<bool> Less(const Value& a, const Value& b);

// Python's `item in container`.
absl::StatusOr<bool> Contains(RenderState& state, const Value& container, const Value& item);

// Spends what comparing the two costs at most.
absl::Status SpendOnComparison(RenderState& state, const Value& a, const Value& b);
// Spends what finding or counting a text in another costs at most.
absl::Status SpendOnSearch(RenderState& state, const Text& text, const Text& wanted);

}  // namespace ternion::jinja
