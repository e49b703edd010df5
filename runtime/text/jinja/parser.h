#pragma once

#include "absl/status/statusor.h"
#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/source.h"

namespace ternion::jinja {

// Parses a template: Jinja 3.1's statements but for those that load other templates (extends, block, include, import),
// with break, continue and generation as Hugging Face's transformers adds them. kInvalidArgument: "line 3, column 5:
// ..."
absl::StatusOr<Body> Parse(const Source& source);

}  // namespace ternion::jinja
