#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/serving/request.h"

namespace ternion {

// One sequence's tokens in a step.
struct StepSequence {
  uint64_t id = 0;
  int64_t position = 0;              // of the first token
  std::vector<int32_t> tokens;       // one < 0 stands for the ~token-th id that the step before draws
  std::vector<int32_t> block_table;  // blocks of positions 0 .. position + tokens - 1, at least
  bool sample = false;               // the last token's logits give the next token
  bool hash_logits = false;
  int64_t sample_index = 0;  // the sampled token's position in the sequence: the random number's counter
  SamplingParams sampling;   // but for the penalties, which `changes` hold
  std::vector<LogitChange>
      changes;                 // of the logits that the next token is drawn from; their `row` is not sent
  std::vector<uint32_t> mask;  // of the ids that the next token may be (Backend::MaskLogits); empty: any
  int32_t logprobs = -1;       // GenerateRequest::logprobs, of the sampled token
  // Ids that follow the first tokens. prompt_logprobs >= 0: their log-probabilities are told, with those of so many of the
  // likeliest tokens. Else all tokens are scored by them, or there are none.
  std::vector<int32_t> targets;
  int32_t prompt_logprobs = -1;

  bool scores() const { return !targets.empty() && prompt_logprobs < 0; }
  // Whether it gets an answer.
  bool asks() const { return sample || !targets.empty(); }
};

// What every rank is to do in one step: the only message that goes to all. It carries all state a step needs, so ranks
// keep none between steps but the KV cache and the running hashes of `hash_logits` sequences.
struct StepPlan {
  uint64_t step = 0;
  std::vector<StepSequence> sequences;
  std::vector<BlockCopy> copies;   // made one after the other before the step's tokens
  std::vector<uint64_t> released;  // sequences that ended: their hashes may be forgotten

  int64_t tokens() const {
    int64_t count = 0;
    for (const StepSequence& s : sequences) count += static_cast<int64_t>(s.tokens.size());
    return count;
  }
};

// What the sampling rank found, one entry for every sequence that asked for something, in the plan's order.
struct SequenceResult {
  uint64_t id = 0;
  int32_t token = -1;  // -1: none was sampled
  uint64_t logits_hash = 0;
  double negative_log_likelihood = 0;
  std::optional<TokenLogprobs> logprobs{};       // of the token
  std::vector<TokenLogprobs> prompt_logprobs{};  // of the targets

  bool operator==(const SequenceResult&) const = default;
};
struct StepResult {
  uint64_t step = 0;
  std::vector<SequenceResult> sequences;
};

// Frames of the control channel (parallel/control_channel.h). Layout: the fields in order, little-endian, vectors
// behind a uint32 count. Decoding checks every length; kDataLoss for a malformed frame.
// kCountsFrame: what a rank has counted so far (rank_count_board.h), five int64: bytes of reduce, gather, pipeline; weights,
// those skipped.
enum FrameKind : uint32_t {
  kPlanFrame = 1,
  kResultFrame = 2,
  kErrorFrame = 3,
  kShutdownFrame = 4,
  kCountsFrame = 5
};

std::string EncodePlan(const StepPlan& plan);
absl::StatusOr<StepPlan> DecodePlan(std::string_view bytes);
std::string EncodeResult(const StepResult& result);
absl::StatusOr<StepResult> DecodeResult(std::string_view bytes);

}  // namespace ternion
