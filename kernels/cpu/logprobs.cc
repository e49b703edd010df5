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

void CpuBackend::Logprobs(TensorView<const float> logits, absl::Span<const LogprobRow> rows_host,
                          TensorView<const int32_t> ids, TensorView<int32_t> top_ids,
                          TensorView<float> logprobs) {
  const auto rows = static_cast<int64_t>(rows_host.size());
  const int64_t k = top_ids.cols();
  CHECK(ids.size() == logits.rows() && top_ids.rows() == rows && logprobs.rows() == rows &&
            logprobs.cols() == 1 + k && k <= logits.cols(),
        "Logprobs shapes");
  pool_.ForEach(rows, [&](int64_t i) {
    const auto [at, named] = rows_host[i];
    CHECK(at >= 0 && at < logits.rows() && named < logits.cols(), "a row and column of the logits");
    const auto row = absl::MakeConstSpan(logits.row(at), static_cast<size_t>(logits.cols()));
    const double log_sum = LogSum(row);
    const auto logprob = [&](int32_t column) {
      return static_cast<float>(static_cast<double>(row[column]) - log_sum);
    };
    logprobs.row(i)[0] = logprob(named >= 0 ? named : ids.data()[at]);
    const std::vector<int32_t> largest = LargestColumns(row, k);
    std::copy(largest.begin(), largest.end(), top_ids.row(i));
    std::transform(largest.begin(), largest.end(), logprobs.row(i) + 1, logprob);
  });
}

}  // namespace ternion::cpu
