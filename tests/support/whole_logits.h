#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/weights.h"

namespace ternion {

// The logits of every token of a prompt on one rank, without a scheduler.      [tokens, vocab]
absl::StatusOr<std::vector<float>> WholeLogits(WeightSource& source, const std::vector<int32_t>& ids,
                                               Backend& backend, KvFormat kv_format);
// The same on the CPU backend, with a cache that rounds nothing.
absl::StatusOr<std::vector<float>> WholeLogits(WeightSource& source, const std::vector<int32_t>& ids);

}  // namespace ternion
