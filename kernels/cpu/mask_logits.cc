#include <limits>

#include "kernels/cpu/cpu_backend.h"

namespace ternion::cpu {

void CpuBackend::MaskLogits(TensorView<float> logits, absl::Span<const int32_t> rows_host,
                            absl::Span<const uint32_t> words_host) {
  const int64_t words = MaskWords(logits.cols());
  CHECK(static_cast<int64_t>(words_host.size()) == static_cast<int64_t>(rows_host.size()) * words,
        "MaskLogits shapes");
  pool_.ForEach(static_cast<int64_t>(rows_host.size()), [&](int64_t i) {
    CHECK(rows_host[i] >= 0 && rows_host[i] < logits.rows(), "a mask of one of the rows");
    float* const row = logits.row(rows_host[i]);
    const uint32_t* const mask = words_host.data() + i * words;
    for (int64_t v = 0; v < logits.cols(); ++v) {
      if ((mask[v / 32] >> (v % 32) & 1) == 0) row[v] = -std::numeric_limits<float>::infinity();
    }
  });
}

}  // namespace ternion::cpu
