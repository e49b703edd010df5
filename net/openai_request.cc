#include "net/openai_request.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "net/field_reader.h"
#include "net/json_body.h"
#include "net/openai_constraint.h"
#include "net/openai_prompt.h"
#include "net/openai_sampling.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr size_t kMostStops = 16;
constexpr int64_t kMostOfPrompt = 128, kMostChoices = 1024;
constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

void ReadStop(FieldReader& reader, std::vector<std::string>* stop) {
  const json* value = reader.Find("stop");
  if (value == nullptr) return;
  const json list = value->is_array() ? *value : json::array({*value});
  if (list.size() > kMostStops) {
    return reader.Fail("stop", absl::StrCat("may hold at most ", kMostStops, " strings"));
  }
  for (const json& entry : list) {
    if (!entry.is_string() || entry.get_ref<const std::string&>().empty()) {
      return reader.Fail("stop", "must be a string or an array of strings, none of them empty");
    }
    stop->push_back(entry.get<std::string>());
  }
}

// Behind `echo`: with it there may be nothing to generate.
void ReadMaxTokens(FieldReader& reader, OpenAiRequest* request) {
  for (const std::string_view name : {"max_tokens", "max_completion_tokens"}) {
    if (reader.Find(name) == nullptr) continue;
    int64_t value = 0;
    reader.Read(name, request->echo ? 0 : 1, kNoLimit, &value);
    request->max_tokens = value;
  }
}

// Behind the prompts.
void ReadChoices(FieldReader& reader, OpenAiRequest* request) {
  reader.Read("n", 1, kMostOfPrompt, &request->n);
  int64_t best_of = request->n;
  reader.Read("best_of", 1, kNoLimit, &best_of);
  if (best_of != request->n) reader.FailUnsupported("best_of", "this version supports the value of n only");
  const auto prompts = static_cast<int64_t>(request->prompts.size());
  if (prompts * request->n > kMostChoices) {
    reader.Fail("n", absl::StrCat("gives ", prompts * request->n, " choices with ", prompts,
                                  " prompts; a request may have ", kMostChoices));
  }
}

void ReadStreamOptions(FieldReader& reader, OpenAiRequest* request) {
  const json* value = reader.Find("stream_options");
  if (value == nullptr) return;
  if (!value->is_object()) return reader.Fail("stream_options", "must be an object");
  if (!request->stream) return reader.Fail("stream_options", "is allowed only when stream is true");
  FieldReader options(*value);
  options.Read("include_usage", &request->include_usage);
  options.Read("continuous_usage_stats", &request->continuous_usage);
  if (!options.ok()) reader.Fail("stream_options", std::string(options.status().message()));
}

// A container that must be empty.
void RequireEmpty(FieldReader& reader, std::string_view name) {
  const json* value = reader.Find(name);
  if (value != nullptr && !(value->is_structured() && value->empty())) {
    reader.FailUnsupported(name, "this version does not support it");
  }
}

void RequireNoToolChoice(FieldReader& reader) {
  const json* value = reader.Find("tool_choice");
  if (value != nullptr && *value != "none" && *value != "auto") {
    reader.FailUnsupported("tool_choice", "this version does not support tools");
  }
}

// What OpenAI's API or vLLM's knows and this version would have to ignore: an answer that is not what was
// asked for is worse than none.
void RefuseUnsupported(FieldReader& reader) {
  for (const std::string_view name : {"tools", "functions"}) RequireEmpty(reader, name);
  if (reader.Find("prompt_logprobs") != nullptr) {
    reader.FailUnsupported("prompt_logprobs", "this version has \"echo\" with \"logprobs\" instead");
  }
  RequireNoToolChoice(reader);
  std::string suffix;
  reader.Read("suffix", &suffix);
  if (!suffix.empty()) reader.FailUnsupported("suffix", "this version does not support it");
}

void ReadInput(FieldReader& reader, OpenAiRequest* request) {
  if (request->endpoint == Endpoint::kChat) {
    ReadMessages(reader, &request->messages);
    reader.Read("add_generation_prompt", &request->add_generation_prompt);
    ReadTemplateVariables(reader, &request->chat_template_kwargs);
    bool echo = false;
    reader.Read("echo", &echo);
    if (echo) reader.FailUnsupported("echo", "this version supports it at /v1/completions only");
  } else {
    ReadPrompts(reader, &request->prompts);
    reader.Read("echo", &request->echo);
  }
}

}  // namespace

absl::StatusOr<OpenAiRequest> ParseOpenAiRequest(Endpoint endpoint, std::string_view body) {
  TERNION_ASSIGN_OR_RETURN(const json document, ParseJsonBody(body));
  if (!document.is_object()) return absl::InvalidArgumentError("the body must be a JSON object");
  FieldReader reader(document);
  OpenAiRequest request;
  std::string user;
  request.endpoint = endpoint;
  reader.Read("model", &request.model);
  reader.Read("user", &user);
  reader.Read("stream", &request.stream);
  ReadInput(reader, &request);
  ReadChoices(reader, &request);
  ReadMaxTokens(reader, &request);
  ReadSampling(reader, &request);
  ReadLogprobs(reader, &request);
  ReadConstraint(reader, body, &request);
  ReadStop(reader, &request.stop);
  ReadStreamOptions(reader, &request);
  RefuseUnsupported(reader);
  if (!reader.ok()) return reader.status();
  return request;
}

}  // namespace ternion
