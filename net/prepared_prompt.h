#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "net/model_service.h"
#include "net/openai_request.h"

namespace ternion {

// One choice of a request, ready for the engine.
struct PreparedPrompt {
  GenerateRequest request;
  std::string echo;           // shown before the generated text
  bool counts_prompt = true;  // in the usage: the first of a prompt's choices
};

// The choices, those of a prompt side by side. Tokenizes a request's prompts or messages and fits max_tokens to what the context leaves. Errors name the
// parameter: a prompt without tokens or longer than the context, a role that the template does not know, a
// model without chat.
absl::StatusOr<std::vector<PreparedPrompt>> PreparePrompts(const OpenAiRequest& request,
                                                           const ModelService& model);

}  // namespace ternion
