#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/segment_sum.h"

namespace ternion::cpu {
namespace {

// The columns of the k largest logits, largest first.
std::vector<int32_t> LargestColumns(absl::Span<const float> logits, int64_t k) {
  std::vector<int32_t> columns(logits.size());
  std::iota(columns.begin(), columns.end(), 0);
  std::partial_sort(columns.begin(), columns.begin() + k, columns.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  columns.resize(k);
  return columns;
}

// log(sum of exp(x - most)) + most.
double LogSum(absl::Span<const float> logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  SegmentSum sum;
  for (size_t i = 0; i < logits.size(); ++i) {
    sum.Add(static_cast<int32_t>(i), std::exp(static_cast<double>(logits[i]) - most));
  }
  return std::log(sum.total()) + most;
}

}  // namespace

void CpuBackend::Logprobs(TensorView<const float> logits, TensorView<const int32_t> ids,
                          TensorView<int32_t> top_ids, TensorView<float> logprobs) {
  const int64_t rows = logits.rows(), k = top_ids.cols();
  CHECK(ids.size() == rows && top_ids.rows() == rows && logprobs.rows() == rows && logprobs.cols() == 1 + k &&
            k <= logits.cols(),
        "Logprobs shapes");
  pool_.ForEach(rows, [&](int64_t t) {
    const auto row = absl::MakeConstSpan(logits.row(t), static_cast<size_t>(logits.cols()));
    const double log_sum = LogSum(row);
    const auto logprob = [&](int32_t column) {
      return static_cast<float>(static_cast<double>(row[column]) - log_sum);
    };
    logprobs.row(t)[0] = logprob(ids.data()[t]);
    const std::vector<int32_t> largest = LargestColumns(row, k);
    std::copy(largest.begin(), largest.end(), top_ids.row(t));
    std::transform(largest.begin(), largest.end(), logprobs.row(t) + 1, logprob);
  });
}

}  // namespace ternion::cpu
