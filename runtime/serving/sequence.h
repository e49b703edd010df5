#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "runtime/cache/sequence_blocks.h"
#include "runtime/constraint/next_mask.h"
#include "runtime/serving/logit_rules.h"
#include "runtime/serving/request.h"

namespace ternion {

// A request on its way through the scheduler.
struct Sequence {
  enum class State : uint8_t { kWaiting, kRunning, kEnded };

  uint64_t id = 0;  // ascends with the time of coming
  GenerateRequest request;
  std::shared_ptr<const TokenSink> sink;
  State state = State::kWaiting;
  // When its limit of waiting or running ends; max: never.
  std::chrono::steady_clock::time_point due = std::chrono::steady_clock::time_point::max();
  // When its first step was planned; max: it was not yet.
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::time_point::max();

  std::vector<int32_t> tokens;  // prompt, then what was generated
  SequenceBlocks blocks;
  int64_t planned = 0;  // tokens that are in the cache or on their way
  int64_t plans_in_flight = 0;
  int64_t generated = 0;
  int64_t awaited = 0;         // tokens that plans in flight draw
  int32_t draw = 0;            // which of its plan's draws the last of them is
  int64_t cached_tokens = -1;  // of the prompt, found when it was first admitted; -1: it was not yet
  double negative_log_likelihood = 0;
  LogitRules rules;
  std::shared_ptr<NextMask> next_mask;         // null: it is free to say anything
  bool awaits_mask = false;                    // which another thread makes
  std::vector<TokenLogprobs> prompt_logprobs;  // what has come of them

  int64_t length() const { return static_cast<int64_t>(tokens.size()) + awaited; }
  int64_t unplanned() const { return length() - planned; }
  bool is_decoding() const { return generated + awaited > 0 && unplanned() <= 1; }
  bool has_run() const { return cached_tokens >= 0; }
  bool ended() const { return state == State::kEnded; }
  // The tokens that are in the cache or on their way, and whose ids are known.
  absl::Span<const int32_t> known_planned() const {
    return absl::MakeConstSpan(tokens).subspan(0, static_cast<size_t>(planned));
  }
};

// Lower priority first, then what came first; so one that ran already goes before all of its priority that did not.
struct GoesBefore {
  bool operator()(const Sequence* a, const Sequence* b) const {
    return std::tie(a->request.priority, a->id) < std::tie(b->request.priority, b->id);
  }
};

}  // namespace ternion
