#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// What a for goes through: the items of a list, the keys of a dict, the characters of a string, what an iterator has
// left (which it then has no more), nothing of an undefined value. kInvalidArgument for the rest.
absl::StatusOr<std::shared_ptr<const Sequence>> Items(RenderState& state, const Value& value);

// What goes once through `items`.
Value MakeIterator(std::vector<Value> items);

// (key, value) of each entry.
std::vector<Value> EntriesOf(const Dict& dict);

}  // namespace ternion::jinja
