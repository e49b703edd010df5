#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "net/completion_stream.h"
#include "net/model_service.h"
#include "net/openai_request.h"

namespace ternion {

// One choice of a request, ready for the engine.
struct PreparedPrompt {
  GenerateRequest request;
  Echo echo;
  bool counts_prompt = true;  // in the usage: the first of a prompt's choices
};

// The ids of a request's messages, through the model's chat template. Errors as PreparePrompts.
absl::StatusOr<std::vector<int32_t>> EncodeChat(const OpenAiRequest& request, const ModelService& model);

// The choices, those of a prompt side by side. Tokenizes a request's prompts or messages and fits max_tokens to what the
// context leaves. Errors name the parameter: a prompt without tokens or longer than the context, a role that the template
// does not know, a model without chat, an id that the tokenizer does not have.
absl::StatusOr<std::vector<PreparedPrompt>> PreparePrompts(const OpenAiRequest& request,
                                                           const ModelService& model);

}  // namespace ternion
