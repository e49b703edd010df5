#include "runtime/model/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cpu/segment_sum.h"

namespace ternion {

SampleRow DrawAt(const SamplingParams& params, int64_t position) {
  return {params.temperature, params.top_k, params.top_p,
          PhiloxUniform(params.seed, static_cast<uint64_t>(position)), params.min_p};
}

int32_t ArgMax(absl::Span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

double PhiloxUniform(uint64_t key, uint64_t counter) {
  std::array<uint32_t, 4> x = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * x[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ k0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  const uint64_t bits = (uint64_t{x[0]} << 32 | x[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

double NegativeLogLikelihood(absl::Span<const float> logits, int32_t target) {
  const double top = logits[ArgMax(logits)];
  cpu::SegmentSum sum;
  for (size_t i = 0; i < logits.size(); ++i) {
    sum.Add(static_cast<int32_t>(i), std::exp(static_cast<double>(logits[i]) - top));
  }
  return std::log(sum.total()) + top - static_cast<double>(logits[target]);
}

}  // namespace ternion
