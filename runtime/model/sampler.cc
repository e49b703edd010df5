#include "runtime/model/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace ternion {
namespace {

constexpr size_t kSegment = 256;

// Sum over segments of 256 ids: each segment's own sum first, then the segments in order.
class SegmentSum {
 public:
  void Add(int32_t id, double value) {
    const auto segment = static_cast<size_t>(id) / kSegment;
    if (segment != segment_) Close(segment);
    part_ += value;
  }
  double total() const { return total_ + part_; }

 private:
  void Close(size_t next) {
    total_ += part_;
    part_ = 0;
    segment_ = next;
  }

  size_t segment_ = 0;
  double part_ = 0;
  double total_ = 0;
};

}  // namespace

int32_t Sampler::Sample(absl::Span<const float> logits, const SamplingParams& params, int64_t position) {
  if (params.temperature == 0.0f || params.top_k == 1) return ArgMax(logits);
  const auto vocab = static_cast<int64_t>(logits.size());
  KeepTopK(logits, params.top_k == 0 ? vocab : std::min<int64_t>(params.top_k, vocab));
  const double top = logits[ArgMax(logits)];
  weight_.resize(kept_.size());
  for (size_t i = 0; i < kept_.size(); ++i) {
    weight_[i] =
        std::exp((static_cast<double>(logits[kept_[i]]) - top) / static_cast<double>(params.temperature));
  }
  if (params.top_p < 1.0f) KeepTopP(logits, params.top_p);
  return Draw(PhiloxUniform(params.seed, static_cast<uint64_t>(position)));
}

void Sampler::KeepTopK(absl::Span<const float> logits, int64_t k) {
  kept_.resize(logits.size());
  std::iota(kept_.begin(), kept_.end(), 0);
  if (k == static_cast<int64_t>(logits.size())) return;
  std::nth_element(kept_.begin(), kept_.begin() + k, kept_.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  kept_.resize(k);
  std::sort(kept_.begin(), kept_.end());
}

// Keeps the fewest likeliest ids whose weights reach p of the whole; at least one.
void Sampler::KeepTopP(absl::Span<const float> logits, float p) {
  SegmentSum sum;
  for (size_t i = 0; i < kept_.size(); ++i) sum.Add(kept_[i], weight_[i]);
  std::vector<size_t> order(kept_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const float left = logits[kept_[a]];
    const float right = logits[kept_[b]];
    return left != right ? left > right : kept_[a] < kept_[b];
  });
  const double enough = sum.total() * static_cast<double>(p);
  double reached = 0;
  size_t count = 0;
  while (count < order.size() && (count == 0 || reached < enough)) reached += weight_[order[count++]];
  order.resize(count);
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < count; ++i) {
    kept_[i] = kept_[order[i]];
    weight_[i] = weight_[order[i]];
  }
  kept_.resize(count);
  weight_.resize(count);
}

int32_t Sampler::Draw(double uniform) const {
  SegmentSum sum;
  for (size_t i = 0; i < kept_.size(); ++i) sum.Add(kept_[i], weight_[i]);
  const double target = uniform * sum.total();
  SegmentSum passed;
  for (size_t i = 0; i < kept_.size(); ++i) {
    passed.Add(kept_[i], weight_[i]);
    if (passed.total() > target) return kept_[i];
  }
  return kept_.back();
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
  SegmentSum sum;
  for (size_t i = 0; i < logits.size(); ++i) {
    sum.Add(static_cast<int32_t>(i), std::exp(static_cast<double>(logits[i]) - top));
  }
  return std::log(sum.total()) + top - static_cast<double>(logits[target]);
}

}  // namespace ternion
