#include "net/openai_constraint.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "net/http_error.h"
#include "net/json_body.h"
#include "runtime/constraint/constraints.h"

namespace ternion {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMostChoiceTexts = 1024;

bool IsObjectWith(const ordered_json& value, const char* key) {
  return value.is_object() && value.contains(key);
}

// Says which parameter constrains the text; a second one is a fault.
void Take(FieldReader& reader, const char* param, OpenAiRequest* request) {
  if (!request->text_param.empty())
    reader.Fail(param, absl::StrCat("cannot stand beside ", request->text_param));
  request->text_param = param;
}

void ReadResponseFormat(FieldReader& reader, const ordered_json& body, OpenAiRequest* request) {
  if (reader.Find("response_format") == nullptr) return;
  const ordered_json& format = body["response_format"];
  if (!IsObjectWith(format, "type")) return reader.Fail("response_format", "must be an object with a type");
  if (format["type"] == "text") return;
  if (format["type"] == "json_object") {
    request->text_schema = {{"type", "object"}};
    Take(reader, "response_format", request);
  } else if (format["type"] == "json_schema") {
    if (!format.contains("json_schema") || !IsObjectWith(format["json_schema"], "schema")) {
      return reader.Fail("response_format.json_schema", "must be an object with a schema");
    }
    request->text_schema = format["json_schema"]["schema"];
    Take(reader, "response_format.json_schema.schema", request);
  } else {
    reader.FailUnsupported("response_format.type",
                           "this version supports \"text\", \"json_object\" and \"json_schema\"");
  }
}

// A schema, or the text of one.
void ReadGuidedJson(FieldReader& reader, const ordered_json& body, OpenAiRequest* request) {
  if (reader.Find("guided_json") == nullptr) return;
  ordered_json schema = body["guided_json"];
  if (schema.is_string()) {
    const std::string text = schema.get<std::string>();
    if (!ParseJsonBody(text).ok())
      return reader.Fail("guided_json", "must be a JSON schema, or the text of one");
    schema = ordered_json::parse(text);
  }
  request->text_schema = std::move(schema);
  Take(reader, "guided_json", request);
}

void ReadGuidedChoice(FieldReader& reader, OpenAiRequest* request) {
  const json* value = reader.Find("guided_choice");
  if (value == nullptr) return;
  if (!value->is_array() || value->empty() || value->size() > kMostChoiceTexts) {
    return reader.Fail("guided_choice",
                       absl::StrCat("must be an array of 1 to ", kMostChoiceTexts, " strings"));
  }
  for (const json& choice : *value) {
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) {
      return reader.Fail("guided_choice", "must hold strings, none of them empty");
    }
    request->text_choices.push_back(choice.get<std::string>());
  }
  Take(reader, "guided_choice", request);
}

// An answer that is whole ends.
void RefuseContradictions(FieldReader& reader, const OpenAiRequest& request) {
  if (request.text_param.empty()) return;
  if (request.ignore_eos) reader.Fail("ignore_eos", absl::StrCat("cannot stand beside ", request.text_param));
  if (request.min_tokens > 0)
    reader.Fail("min_tokens", absl::StrCat("cannot stand beside ", request.text_param));
}

}  // namespace

void ReadConstraint(FieldReader& reader, std::string_view body, OpenAiRequest* request) {
  for (const std::string_view name : {"guided_regex", "guided_grammar", "structured_outputs"}) {
    if (reader.Find(name) != nullptr) {
      reader.FailUnsupported(name, "this version has response_format, guided_json and guided_choice");
    }
  }
  if (reader.Find("response_format") != nullptr || reader.Find("guided_json") != nullptr) {
    const ordered_json ordered = ordered_json::parse(body.begin(), body.end());
    ReadResponseFormat(reader, ordered, request);
    ReadGuidedJson(reader, ordered, request);
  }
  ReadGuidedChoice(reader, request);
  RefuseContradictions(reader, *request);
}

absl::StatusOr<std::shared_ptr<Constraint>> ConstraintOf(const OpenAiRequest& request,
                                                         const ModelService& model) {
  if (request.text_param.empty()) return std::shared_ptr<Constraint>();
  if (model.constraints == nullptr) {
    return UnsupportedParam(request.text_param, "this server does not constrain texts");
  }
  std::string where;
  auto constraint = request.text_choices.empty() ? model.constraints->OfSchema(request.text_schema, &where)
                                                 : model.constraints->OfChoices(request.text_choices);
  if (constraint.ok()) return constraint;
  const std::string param = where.empty() ? request.text_param : absl::StrCat(request.text_param, ".", where);
  const absl::string_view message = constraint.status().message();
  if (absl::IsUnimplemented(constraint.status())) {
    return UnsupportedParam(param, std::string_view(message.data(), message.size()));
  }
  return ParamError(param, std::string_view(message.data(), message.size()));
}

}  // namespace ternion
