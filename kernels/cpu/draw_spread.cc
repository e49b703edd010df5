#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/draw_weight.h"

namespace ternion::cpu {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// The segment in which the running weight exceeds `uniform` of the whole, the running weight before it, and that share.
struct Crossing {
  int64_t segment = 0;
  double before = 0;
  double target = 0;
};

Crossing FindCrossing(absl::Span<const uint64_t> sums, double uniform) {
  double total = 0;
  for (const uint64_t sum : sums) total += std::bit_cast<double>(sum);
  Crossing crossing{0, 0, uniform * total};
  const auto last = static_cast<int64_t>(sums.size()) - 1;
  for (; crossing.segment < last; ++crossing.segment) {
    const double after = crossing.before + std::bit_cast<double>(sums[crossing.segment]);
    if (after > crossing.target) break;
    crossing.before = after;
  }
  return crossing;
}

}  // namespace

void CpuBackend::DrawSpread(TensorView<const float> logits, int64_t first, TensorView<const Candidate> lists,
                            TensorView<const uint64_t> sums, int64_t own,
                            absl::Span<const SampleRow> rows_host, TensorView<const int32_t> ids,
                            TensorView<Candidate> found) {
  const int64_t rows = logits.rows();
  CHECK(lists.rows() == rows && sums.rows() == rows && static_cast<int64_t>(rows_host.size()) == rows &&
            ids.size() == rows && found.rows() == rows && found.cols() > 0,
        "DrawSpread shapes");
  const std::vector<double> most = LargestLogits(lists);
  for (int64_t t = 0; t < rows; ++t) {
    const SampleRow& how = rows_host[t];
    std::fill(found.row(t), found.row(t) + found.cols(), Candidate{kNever, 0});
    if (how.takes_largest()) {
      *found.row(t) = {0, ids.data()[t]};
      continue;
    }
    const Crossing crossing = FindCrossing({sums.row(t), static_cast<size_t>(sums.cols())}, how.uniform);
    const int64_t begin = (crossing.segment - own) * kVocabSegment;
    if (begin < 0 || begin >= logits.cols()) continue;
    const int64_t end = std::min(begin + kVocabSegment, logits.cols());
    double part = 0;
    int64_t column = begin;
    for (; column + 1 < end; ++column) {
      part += DrawWeight(logits.row(t)[column], most[t], how.temperature, how.min_p);
      if (crossing.before + part > crossing.target) break;
    }
    *found.row(t) = {0, static_cast<int32_t>(first + column)};
  }
}

}  // namespace ternion::cpu
