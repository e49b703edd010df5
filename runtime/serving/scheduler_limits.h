#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace ternion {

struct SchedulerLimits {
  int64_t max_model_len = 2048;    // prompt and generated tokens of a sequence
  int64_t max_batch_tokens = 512;  // tokens of a step
  int64_t max_sequences = 64;      // sequences that run at once
  int64_t max_queue = 1024;        // requests that wait
  // Of a request that names no queue_deadline: how long it may wait for its turn; 0: as long as it takes.
  std::chrono::nanoseconds max_queue_time{0};
  int64_t blocks = 0;          // KV blocks
  bool prefix_caching = true;  // blocks that were computed are shared by sequences that begin alike
  int64_t vocab = 0;
  int micro_batches = 1;  // running sequences are shared out among so many plans in flight
  // One more plan may be in flight: a sequence goes on in it with the token that the plan before draws, whatever that may
  // be. What it does with a token that ends its sequence is thrown away.
  bool plans_ahead = false;
  // A prompt is not cut into smaller shares for micro-batches: a step of so few tokens takes hardly longer than one of
  // fewer.
  int64_t least_share = 64;
  std::vector<int32_t> eos_ids;
};

}  // namespace ternion
