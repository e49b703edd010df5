#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "net/field_reader.h"
#include "net/model_service.h"
#include "net/openai_request.h"

namespace ternion {

// What the answer's text must be: response_format, guided_json or guided_choice, one of them at most. `body`: what the reader
// reads, since a schema's properties have an order.
void ReadConstraint(FieldReader& reader, std::string_view body, OpenAiRequest* request);

// The constraint that a request asks for; null: none. Errors name the schema's keyword by its path in the request.
absl::StatusOr<std::shared_ptr<Constraint>> ConstraintOf(const OpenAiRequest& request,
                                                         const ModelService& model);

}  // namespace ternion
