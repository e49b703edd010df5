#pragma once

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// `object.name`: a method or an attribute, else an item. What is not there is undefined; of an undefined object it is
// an error. There is nothing else to reach: no attribute leads out of the data.
absl::StatusOr<Value> GetAttribute(RenderState& state, const Value& object, std::string_view name);

// `object[index]`: an item, else a method or an attribute.
absl::StatusOr<Value> GetItem(RenderState& state, const Value& object, const Value& index);

// `object[start:stop:step]` of a string or a sequence; none and absent ends are the object's.
absl::StatusOr<Value> GetSlice(RenderState& state, const Value& object, const Value& start, const Value& stop,
                               const Value& step);

// The item that `path` leads to, as filters' `attribute` has it: "a.b.0", or an integer. What is undefined on the way
// becomes `absent`.
absl::StatusOr<Value> GetPath(RenderState& state, const Value& object, const Value& path,
                              const Value& absent = {});

}  // namespace ternion::jinja
