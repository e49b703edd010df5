#include <algorithm>
#include <bit>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/draw_weight.h"

namespace ternion::cpu {

void CpuBackend::WeighSegments(TensorView<const float> logits, TensorView<const Candidate> lists,
                               absl::Span<const SampleRow> rows_host, TensorView<uint64_t> sums) {
  const int64_t rows = logits.rows(), segments = sums.cols();
  CHECK(lists.rows() == rows && static_cast<int64_t>(rows_host.size()) == rows && sums.rows() == rows &&
            segments * kVocabSegment >= logits.cols(),
        "WeighSegments shapes");
  const std::vector<double> most = LargestLogits(lists);
  pool_.ForEach(rows * segments, [&](int64_t task) {
    const int64_t t = task / segments, begin = task % segments * kVocabSegment;
    const SampleRow& how = rows_host[t];
    if (how.takes_largest()) return;
    double sum = 0;
    for (int64_t i = begin; i < std::min(begin + kVocabSegment, logits.cols()); ++i) {
      sum += DrawWeight(logits.row(t)[i], most[t], how.temperature, how.min_p);
    }
    sums.data()[task] = std::bit_cast<uint64_t>(sum);
  });
}

}  // namespace ternion::cpu
