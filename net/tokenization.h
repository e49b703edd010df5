#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "net/model_service.h"

namespace ternion {

// POST /tokenize and POST /detokenize, as vLLM has them: a body in, the answer's JSON out. `served` is the model's name.
// Errors name the parameter (net/http_error.h), as those of completions do.

// {"prompt", "add_special_tokens": true}, or {"messages", "add_generation_prompt": true, "chat_template_kwargs"} ->
// {"count", "max_model_len", "tokens"}. The ids are those that a completion or a chat would begin with; their number is
// not bounded by the context.
absl::StatusOr<std::string> TokenizeJson(std::string_view body, const ModelService& model,
                                         std::string_view served);

// {"tokens"} -> {"prompt"}. Special tokens are shown; bytes that are no UTF-8 become U+FFFD. Tokens that stand for more
// than `most_bytes` of text are refused before any of it is put together.
absl::StatusOr<std::string> DetokenizeJson(std::string_view body, const ModelService& model,
                                           std::string_view served, size_t most_bytes);

}  // namespace ternion
