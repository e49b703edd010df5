#pragma once

#include "absl/status/statusor.h"
#include "runtime/text/json_node.h"
#include "runtime/text/regex.h"

namespace ternion {

// The `pattern` of a tokenizer.json's component: {"Regex": "..."}, or {"String": "..."} for that very text.
// kInvalidArgument, kUnimplemented, told of the pattern.
absl::StatusOr<Regex> CompilePattern(const JsonNode& pattern);

}  // namespace ternion
