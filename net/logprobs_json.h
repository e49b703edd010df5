#pragma once

#include <string>

#include "absl/types/span.h"
#include "net/told_token.h"

namespace ternion {

// A choice's "logprobs", as OpenAI's completions have them: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}.
// Offsets count characters of the choice's text. A token that is not UTF-8 is spelled "bytes:" and its bytes, those that are
// no character as \xNN.
std::string CompletionLogprobsJson(absl::Span<const ToldToken> tokens);
// And as chat has them: {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}.
std::string ChatLogprobsJson(absl::Span<const ToldToken> tokens);

}  // namespace ternion
