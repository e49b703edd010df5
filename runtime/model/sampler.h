#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/backend.h"
#include "runtime/serving/request.h"

namespace ternion {

// The draw of the token at `position` of a sequence. The random number is Philox4x32-10 (Salmon et al., SC'11) keyed by
// the seed, its counter the position, so a draw depends on nothing else.
SampleRow DrawAt(const SamplingParams& params, int64_t position);

// The largest logit's id; the lowest of equals.
int32_t ArgMax(absl::Span<const float> logits);
// A number in [0, 1) from 53 random bits.
double PhiloxUniform(uint64_t key, uint64_t counter);
// -log softmax(logits)[target], in double; sums over fixed segments of 256 ids in ascending order.
double NegativeLogLikelihood(absl::Span<const float> logits, int32_t target);

}  // namespace ternion
