#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "runtime/serving/request.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

// A token, as the log-probabilities of an answer tell of it.
struct ToldToken {
  std::string bytes;
  int64_t offset = 0;            // characters of the choice's text before it
  std::optional<float> logprob;  // none: it is the first of a prompt
  std::vector<std::pair<std::string, float>> likeliest;

  bool operator==(const ToldToken&) const = default;
};

ToldToken Tell(const Tokenizer& tokenizer, int32_t id, int64_t offset, const TokenLogprobs& logprobs);

// All of a prompt's tokens; logprobs[i] is of ids[i + 1].
std::vector<ToldToken> TellPrompt(const Tokenizer& tokenizer, absl::Span<const int32_t> ids,
                                  absl::Span<const TokenLogprobs> logprobs);

}  // namespace ternion
