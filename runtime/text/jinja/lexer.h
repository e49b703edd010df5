#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/jinja/source.h"
#include "runtime/text/jinja/token.h"

namespace ternion::jinja {

// Cuts a template into tokens, the last one kEnd. Comments are gone, raw blocks are data, and white space around tags
// is what trim_blocks, lstrip_blocks and the signs of {%- and +%} leave. kInvalidArgument with line and column.
absl::StatusOr<std::vector<Token>> Tokenize(const Source& source);

}  // namespace ternion::jinja
