#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/constraint/schema_node.h"

namespace ternion {

// What a node's $ref names inside the document `root`. kInvalidArgument: nothing; kUnimplemented: another document.
absl::StatusOr<SchemaNode> SchemaReferredTo(const nlohmann::ordered_json& root, const SchemaNode& node);

// OK where no value fits two alternatives of a node's oneOf, so that it means what anyOf means; else kUnimplemented. It looks
// at types, constants, and required properties that are constants.
absl::Status CheckApart(const nlohmann::ordered_json& root, const SchemaNode& node);

}  // namespace ternion
