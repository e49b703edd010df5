#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace ternion::cpu {
namespace {

constexpr Candidate kNone = {-std::numeric_limits<float>::infinity(), 0};

// The columns of the `count` largest logits, ascending.
std::vector<int32_t> LargestColumns(absl::Span<const float> logits, int32_t count) {
  if (count == 1) {
    return {static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
  }
  std::vector<int32_t> columns(logits.size());
  std::iota(columns.begin(), columns.end(), 0);
  std::nth_element(columns.begin(), columns.begin() + (count - 1), columns.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  columns.resize(count);
  std::sort(columns.begin(), columns.end());
  return columns;
}

}  // namespace

void CpuBackend::Shortlist(TensorView<const float> logits, int64_t first,
                           absl::Span<const int32_t> counts_host, TensorView<Candidate> lists) {
  CHECK(lists.rows() == logits.rows() && static_cast<int64_t>(counts_host.size()) == logits.rows(),
        "Shortlist shapes");
  pool_.ForEach(logits.rows(), [&](int64_t t) {
    const int32_t count = counts_host[t];
    CHECK(count >= 1 && count <= lists.cols() && count <= logits.cols(), "a shortlist of the row's columns");
    const auto row = absl::MakeConstSpan(logits.row(t), static_cast<size_t>(logits.cols()));
    Candidate* next = lists.row(t);
    for (const int32_t column : LargestColumns(row, count)) {
      *next++ = {row[column], static_cast<int32_t>(first) + column};
    }
    std::fill(next, lists.row(t) + lists.cols(), kNone);
  });
}

}  // namespace ternion::cpu
