#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/weights.h"

namespace ternion {

// The logits of every token of a prompt on one rank of the CPU backend, without a scheduler.      [tokens, vocab]
absl::StatusOr<std::vector<float>> WholeLogits(WeightSource& source, const std::vector<int32_t>& ids);

}  // namespace ternion
