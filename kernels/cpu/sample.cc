// Draws from rows of logits: weights in float64, sums over fixed segments of 256 columns in ascending order.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/segment_sum.h"

namespace ternion::cpu {
namespace {

int32_t Largest(absl::Span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

class Sampler {
 public:
  int32_t Sample(absl::Span<const float> logits, const SampleRow& how);

 private:
  void KeepTopK(absl::Span<const float> logits, int64_t k);
  void KeepTopP(absl::Span<const float> logits, float p);
  void KeepMinP(float p);
  int32_t Draw(double uniform) const;

  std::vector<int32_t> kept_;   // ids that may be drawn
  std::vector<double> weight_;  // their exp((logit - max) / temperature), parallel to kept_
};

int32_t Sampler::Sample(absl::Span<const float> logits, const SampleRow& how) {
  if (how.takes_largest()) return Largest(logits);
  const auto vocab = static_cast<int64_t>(logits.size());
  KeepTopK(logits, how.top_k == 0 ? vocab : std::min<int64_t>(how.top_k, vocab));
  const double top = logits[Largest(logits)];
  weight_.resize(kept_.size());
  for (size_t i = 0; i < kept_.size(); ++i) {
    weight_[i] =
        std::exp((static_cast<double>(logits[kept_[i]]) - top) / static_cast<double>(how.temperature));
  }
  if (how.top_p < 1.0f) KeepTopP(logits, how.top_p);
  if (how.min_p > 0.0f) KeepMinP(how.min_p);
  return Draw(how.uniform);
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

// The largest weight is 1.
void Sampler::KeepMinP(float p) {
  size_t count = 0;
  for (size_t i = 0; i < kept_.size(); ++i) {
    if (weight_[i] < static_cast<double>(p)) continue;
    kept_[count] = kept_[i];
    weight_[count++] = weight_[i];
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

}  // namespace

void CpuBackend::Sample(TensorView<const float> logits, absl::Span<const SampleRow> rows_host,
                        TensorView<int32_t> ids) {
  CHECK(ids.size() == logits.rows() && static_cast<int64_t>(rows_host.size()) == logits.rows(),
        "Sample shapes");
  pool_.ForEach(logits.rows(), [&](int64_t t) {
    ids.data()[t] = Sampler().Sample(absl::MakeConstSpan(logits.row(t), static_cast<size_t>(logits.cols())),
                                     rows_host[t]);
  });
}

}  // namespace ternion::cpu
