// Draws from rows of logits: weights in float64, sums over fixed segments of columns in ascending order.
#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/draw_weight.h"
#include "kernels/cpu/segment_sum.h"

namespace ternion::cpu {
namespace {

size_t Largest(absl::Span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// A draw from some columns of a row, ascending.
class Sampler {
 public:
  // Empty `columns`: 0, 1, 2, ...
  Sampler(absl::Span<const float> logits, absl::Span<const int32_t> columns)
      : logits_(logits), columns_(columns) {}

  int32_t Sample(const SampleRow& how);

 private:
  int32_t ColumnOf(size_t i) const { return columns_.empty() ? static_cast<int32_t>(i) : columns_[i]; }
  bool GoesBefore(size_t a, size_t b) const {
    return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
  }
  void KeepTopK(size_t k);
  void Weigh(const SampleRow& how);
  void KeepTopP(float p);
  void KeepMinP(float p);
  int32_t Draw(double uniform) const;

  absl::Span<const float> logits_;
  absl::Span<const int32_t> columns_;
  std::vector<size_t> kept_;    // places in logits_ that may be drawn
  std::vector<double> weight_;  // their weights, parallel to kept_
};

int32_t Sampler::Sample(const SampleRow& how) {
  if (how.takes_largest()) return ColumnOf(Largest(logits_));
  KeepTopK(how.top_k == 0 ? logits_.size() : std::min<size_t>(how.top_k, logits_.size()));
  Weigh(how);
  if (how.top_p < 1.0f) KeepTopP(how.top_p);
  if (how.min_p > 0.0f) KeepMinP(how.min_p);
  return Draw(how.uniform);
}

void Sampler::KeepTopK(size_t k) {
  kept_.resize(logits_.size());
  std::iota(kept_.begin(), kept_.end(), size_t{0});
  if (k == kept_.size()) return;
  std::nth_element(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(k), kept_.end(),
                   [&](size_t a, size_t b) { return GoesBefore(a, b); });
  kept_.resize(k);
  std::sort(kept_.begin(), kept_.end());
}

void Sampler::Weigh(const SampleRow& how) {
  const double most = logits_[Largest(logits_)];
  weight_.resize(kept_.size());
  for (size_t i = 0; i < kept_.size(); ++i) {
    weight_[i] = DrawWeight(logits_[kept_[i]], most, how.temperature, 0);
  }
}

// Keeps the fewest likeliest columns whose weights reach p of the whole; at least one.
void Sampler::KeepTopP(float p) {
  SegmentSum sum;
  for (size_t i = 0; i < kept_.size(); ++i) sum.Add(ColumnOf(kept_[i]), weight_[i]);
  std::vector<size_t> order(kept_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return GoesBefore(kept_[a], kept_[b]); });
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
  for (size_t i = 0; i < kept_.size(); ++i) sum.Add(ColumnOf(kept_[i]), weight_[i]);
  const double target = uniform * sum.total();
  SegmentSum passed;
  for (size_t i = 0; i < kept_.size(); ++i) {
    passed.Add(ColumnOf(kept_[i]), weight_[i]);
    if (passed.total() > target) return ColumnOf(kept_[i]);
  }
  return ColumnOf(kept_.back());
}

}  // namespace

void CpuBackend::Sample(TensorView<const float> logits, absl::Span<const SampleRow> rows_host,
                        TensorView<int32_t> ids) {
  CHECK(ids.size() == logits.rows() && static_cast<int64_t>(rows_host.size()) == logits.rows(),
        "Sample shapes");
  pool_.ForEach(logits.rows(), [&](int64_t t) {
    const auto row = absl::MakeConstSpan(logits.row(t), static_cast<size_t>(logits.cols()));
    ids.data()[t] = Sampler(row, {}).Sample(rows_host[t]);
  });
}

void CpuBackend::SampleListed(TensorView<const Candidate> lists, absl::Span<const SampleRow> rows_host,
                              TensorView<int32_t> ids) {
  CHECK(ids.size() == lists.rows() && static_cast<int64_t>(rows_host.size()) == lists.rows(),
        "SampleListed shapes");
  pool_.ForEach(lists.rows(), [&](int64_t t) {
    std::vector<float> logits;
    std::vector<int32_t> columns;
    for (int64_t i = 0; i < lists.cols(); ++i) {
      logits.push_back(lists.row(t)[i].logit);
      columns.push_back(lists.row(t)[i].column);
    }
    ids.data()[t] = Sampler(logits, columns).Sample(rows_host[t]);
  });
}

}  // namespace ternion::cpu
