#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "runtime/serving/request.h"

namespace ternion {

// Draws a token from one row of logits [vocab]. Order: top-k, then softmax(logits / temperature), then top-p, each
// over what the one before left; equal logits rank by id, the lower first. Sums run over fixed segments of 256 ids in
// ascending order. The random number is Philox4x32-10 (Salmon et al., SC'11) keyed by `seed`, its counter the token's
// position in the sequence, so a draw depends on nothing else.
class Sampler {
 public:
  int32_t Sample(absl::Span<const float> logits, const SamplingParams& params, int64_t position);

 private:
  void KeepTopK(absl::Span<const float> logits, int64_t k);
  void KeepTopP(absl::Span<const float> logits, float p);
  int32_t Draw(double uniform) const;

  std::vector<int32_t> kept_;   // ids that may be drawn
  std::vector<double> weight_;  // their exp((logit - max) / temperature), parallel to kept_
};

// The largest logit's id; the lowest of equals.
int32_t ArgMax(absl::Span<const float> logits);
// A number in [0, 1) from 53 random bits.
double PhiloxUniform(uint64_t key, uint64_t counter);
// -log softmax(logits)[target], in double.
double NegativeLogLikelihood(absl::Span<const float> logits, int32_t target);

}  // namespace ternion
