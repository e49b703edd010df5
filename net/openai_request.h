#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/serving/request.h"
#include "runtime/text/chat_template.h"

namespace ternion {

enum class Endpoint : uint8_t { kCompletions, kChat };

// Text, or ids that are taken as they are.
using PromptInput = std::variant<std::string, std::vector<int32_t>>;

// A request to /v1/completions or /v1/chat/completions: types and ranges checked, nothing tokenized yet.
struct OpenAiRequest {
  Endpoint endpoint = Endpoint::kCompletions;
  std::string model;                          // empty: not given
  std::vector<PromptInput> prompts;           // completions
  std::vector<ChatMessage> messages;          // chat
  bool add_generation_prompt = true;          // chat
  nlohmann::json chat_template_kwargs;        // chat: an object of variables for the template, or null
  bool echo = false;                          // completions: the text begins with the prompt
  int64_t n = 1;                              // choices of each prompt, or of the messages
  std::optional<int64_t> max_tokens;          // absent: until the context is full; 0: the echo alone
  SamplingParams sampling{1.0f, 0, 1.0f, 0};  // without its seed
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::optional<uint64_t> seed;  // of the first choice, the next one's is one more; absent: drawn for each
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  int64_t min_tokens = 0;
  int32_t logprobs =
      -1;  // of each token, and of so many of the likeliest; with `echo` of the prompt's too; -1: none
  int32_t priority = 0;
  // What the text must be (net/openai_constraint.h): of a JSON Schema, or one of some choices.
  std::string text_param;  // the parameter that says so; empty: it may be anything
  nlohmann::ordered_json text_schema;
  std::vector<std::string> text_choices;
  bool stream = false;
  bool include_usage = false;     // a last chunk with the usage
  bool continuous_usage = false;  // the usage in every chunk
};

// Parses and validates a body. Errors carry the parameter's name (net/http_error.h). A parameter that this
// version knows but cannot honour is an error; one that it does not know is ignored.
absl::StatusOr<OpenAiRequest> ParseOpenAiRequest(Endpoint endpoint, std::string_view body);

}  // namespace ternion
