#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/text.h"

namespace ternion::jinja {

// Python's `format % values`: %s, %r, %d, %i, %x, %X, %o, %e, %f, %g and %%, with flags, width and precision;
// %(name)s takes from `named`.
absl::StatusOr<Text> FormatPercent(RenderState& state, const Text& format, const Arguments& values);

// str.format: {}, {0} and {name}. Kinds of fields beyond them (attributes, conversions, format specifications) are
// kInvalidArgument.
absl::StatusOr<Text> FormatBraces(RenderState& state, const Text& format, const Arguments& values);

}  // namespace ternion::jinja
