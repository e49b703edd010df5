#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/constraint/grammar.h"

namespace ternion {

// Grammars of JSON texts (runtime/constraint/json_rules.h: their layout and their numbers' lengths).

// Any object.
Grammar JsonObjectGrammar();

// The texts that a JSON Schema allows; of these those alone whose members stand in the order of `properties`, with members of
// other names behind them. Keywords:
//   type, enum, const, anyOf, oneOf (where no text fits two alternatives by their types or constants), allOf of one schema,
//   $ref into the schema, $defs, definitions
//   properties, required, additionalProperties (absent beside `properties`: none are written)
//   items, prefixItems, minItems, maxItems
//   minLength, maxLength
//   minimum, maximum, exclusiveMinimum, exclusiveMaximum of integers
// title, description, default, examples, deprecated, readOnly, writeOnly, $schema, $id, $comment mean nothing here.
// kInvalidArgument, kUnimplemented (any other keyword); `where` then is the path of the fault, as properties.a.pattern.
absl::StatusOr<Grammar> JsonSchemaGrammar(const nlohmann::ordered_json& schema, std::string* where);

}  // namespace ternion
