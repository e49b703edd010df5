#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ternion {

class Constraint;  // runtime/constraint/constraint.h

// Of how many of the likeliest tokens a request may be told.
inline constexpr int32_t kMostLogprobs = 20;

// How the next token is drawn from the logits. temperature 0 takes the largest (ties: the lowest id).
struct SamplingParams {
  float temperature = 0.0f;  // >= 0
  int32_t top_k = 0;         // 0: no limit
  float top_p = 1.0f;        // (0, 1]
  uint64_t seed = 0;         // the same seed gives the same tokens, whatever else is in the batch
  float min_p = 0.0f;        // [0, 1]: of the likeliest token's probability
  // Of tokens that stand in the prompt or the answer (repetition), or in the answer alone (presence, frequency).
  float repetition_penalty = 1.0f;  // > 0
  float presence_penalty = 0.0f;    // subtracted once
  float frequency_penalty = 0.0f;   // subtracted for each time
};

// One request for the engine: token ids in, token ids out. Text, stop strings and chat are made of this elsewhere.
struct GenerateRequest {
  std::vector<int32_t> prompt;  // at least one id, each in [0, vocab)
  int64_t max_tokens = 128;     // at least 1; generation also ends when the context is full
  SamplingParams sampling;
  bool ignore_eos = false;
  bool hash_logits = false;                           // fill TokenEvent::logits_hash
  std::vector<int32_t> stop_ids;                      // ends like an end-of-sequence id
  std::vector<std::pair<int32_t, float>> logit_bias;  // (id, added to its logit); each id once
  // What the answer's text is; null: anything. It is shared by requests of one grammar.
  std::shared_ptr<Constraint> constraint;
  int64_t min_tokens = 0;  // neither an end-of-sequence id nor one of stop_ids is drawn before so many tokens
  // How many of the likeliest tokens to tell with each generated token, and with the tokens of the prompt but the first;
  // 0: that of the token alone; -1: nothing.
  int32_t logprobs = -1;
  int32_t prompt_logprobs = -1;
  int32_t priority = 0;  // lower goes first; equal ones in order of their coming
  // Neither waits longer for its turn, nor runs longer; the request then ends with kDeadlineExceeded.
  std::chrono::steady_clock::time_point queue_deadline = std::chrono::steady_clock::time_point::max();
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  // Not empty: nothing is generated; the prompt is scored. target[i] follows prompt[i]; one event comes, with
  // negative_log_likelihood and finish kLength.
  std::vector<int32_t> score_targets;
};

enum class FinishReason : uint8_t { kStop, kLength, kCancelled };
std::string_view FinishReasonName(FinishReason reason);  // "stop", "length", "abort"

// Natural logarithms of the probabilities that the model gives, before penalties, masks and temperature.
struct TokenLogprobs {
  float logprob = 0;                           // of the token itself
  std::vector<std::pair<int32_t, float>> top;  // the likeliest tokens, first the likeliest

  bool operator==(const TokenLogprobs&) const = default;
};

// One generated token, or the end of a request that failed.
struct TokenEvent {
  absl::Status status;                    // not ok: the request failed, and no other event follows
  int32_t token = -1;                     // an end-of-sequence id comes too, with finish kStop
  std::optional<FinishReason> finish;     // set on the last event
  uint64_t logits_hash = 0;               // XXH64 of all logits rows of the request so far
  double negative_log_likelihood = 0;     // of score_targets, natural logarithm, summed in order
  std::optional<TokenLogprobs> logprobs;  // where GenerateRequest::logprobs >= 0
  std::vector<TokenLogprobs>
      prompt_logprobs;        // with the first token, where asked for: of prompt[1], prompt[2], ...
  int64_t cached_tokens = 0;  // with the first token: of the prompt, found in the prefix cache
  // Another event follows at once, of this request or another: who wakes readers may do so with that one.
  bool more_follow = false;
  // When the request's first step was planned; max() before.
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::time_point::max();
  // When the engine told it: one reading of the clock for all that follow each other.
  std::chrono::steady_clock::time_point told = std::chrono::steady_clock::time_point::max();
};
// Called on the engine's thread, in order; must not block. Of the Generator it may call Cancel alone.
using TokenSink = std::function<void(const TokenEvent&)>;

// What a server needs of the engine. Thread-safe.
class Generator {
 public:
  virtual ~Generator() = default;
  // kInvalidArgument (prompt longer than the context, ids outside the vocabulary), kResourceExhausted (queue full),
  // kUnavailable (draining, or a rank was lost). The sink is called only after Submit succeeded; its first call may
  // come before Submit returns.
  virtual absl::StatusOr<uint64_t> Submit(GenerateRequest request, TokenSink sink) = 0;
  // The sink gets a last event with kCancelled, unless the request has ended already. Unknown ids are ignored.
  virtual void Cancel(uint64_t id) = 0;
  // OK when requests are accepted; else why not.
  virtual absl::Status Ready() const = 0;
  virtual int64_t max_model_len() const = 0;
  // Requests running and waiting.
  virtual int64_t active_requests() const = 0;
};

}  // namespace ternion
