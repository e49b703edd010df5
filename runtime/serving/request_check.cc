#include "runtime/serving/request_check.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/cache/kv_cache.h"

namespace ternion {
namespace {

absl::Status CheckLengths(const GenerateRequest& request, const SchedulerLimits& limits) {
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length == 0) return absl::InvalidArgumentError("the prompt is empty; it needs at least one token");
  const bool scores = !request.score_targets.empty();
  const int64_t longest = scores ? limits.max_model_len : limits.max_model_len - 1;
  if (length > longest) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ", length, " tokens; the context of ",
                                                   limits.max_model_len, " holds at most ", longest,
                                                   scores ? "" : " and one generated token"));
  }
  if (!scores && request.max_tokens < 1) return absl::InvalidArgumentError("max_tokens must be at least 1");
  if (scores && request.score_targets.size() != request.prompt.size()) {
    return absl::InvalidArgumentError("score_targets must be as long as the prompt");
  }
  if (scores && request.prompt_logprobs >= 0) {
    return absl::InvalidArgumentError("a prompt is scored, or told log-probabilities of; not both");
  }
  return absl::OkStatus();
}

absl::Status CheckIds(std::string_view whose, const std::vector<int32_t>& ids, int64_t vocab) {
  const auto outside = [vocab](int32_t id) { return id < 0 || id >= vocab; };
  const auto wrong = std::find_if(ids.begin(), ids.end(), outside);
  if (wrong == ids.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(ToAbsl(whose), ": token id ", *wrong, " is outside the vocabulary of ", vocab));
}

absl::Status CheckSampling(const SamplingParams& sampling) {
  if (!(sampling.repetition_penalty > 0) || !std::isfinite(sampling.repetition_penalty)) {
    return absl::InvalidArgumentError("the repetition penalty must be a number greater than 0");
  }
  if (!std::isfinite(sampling.presence_penalty) || !std::isfinite(sampling.frequency_penalty)) {
    return absl::InvalidArgumentError("presence and frequency penalties must be numbers");
  }
  return absl::OkStatus();
}

absl::Status CheckLogprobs(int32_t likeliest, int64_t vocab) {
  const int64_t most = std::min<int64_t>(kMostLogprobs, vocab);
  if (likeliest <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "log-probabilities of the ", likeliest, " likeliest tokens are asked for; there are those of ", most));
}

}  // namespace

absl::Status CheckRequest(const GenerateRequest& request, const SchedulerLimits& limits) {
  TERNION_RETURN_IF_ERROR(CheckLengths(request, limits));
  TERNION_RETURN_IF_ERROR(CheckIds("prompt", request.prompt, limits.vocab));
  TERNION_RETURN_IF_ERROR(CheckIds("score targets", request.score_targets, limits.vocab));
  TERNION_RETURN_IF_ERROR(CheckIds("stop ids", request.stop_ids, limits.vocab));
  for (const auto& [id, bias] : request.logit_bias) {
    TERNION_RETURN_IF_ERROR(CheckIds("logit bias", {id}, limits.vocab));
  }
  TERNION_RETURN_IF_ERROR(CheckSampling(request.sampling));
  if (request.constraint != nullptr && (request.ignore_eos || request.min_tokens > 0)) {
    return absl::InvalidArgumentError(
        "a constrained answer ends where its text is whole: ignore_eos and min_tokens cannot be asked for "
        "with it");
  }
  for (const int32_t likeliest : {request.logprobs, request.prompt_logprobs}) {
    TERNION_RETURN_IF_ERROR(CheckLogprobs(likeliest, limits.vocab));
  }
  const int64_t need = BlocksFor(PositionsOf(request, limits));
  if (need > limits.blocks) {
    return absl::InvalidArgumentError(absl::StrCat("the request needs ", need, " KV blocks of ",
                                                   kKvBlockTokens, " tokens and there are ", limits.blocks,
                                                   "; lower max_tokens or raise --kv-memory"));
  }
  return absl::OkStatus();
}

// The last generated token is never fed back, so it takes no position.
int64_t PositionsOf(const GenerateRequest& request, const SchedulerLimits& limits) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (!request.score_targets.empty()) return prompt;
  return prompt + std::min(request.max_tokens, limits.max_model_len - prompt) - 1;
}

}  // namespace ternion
