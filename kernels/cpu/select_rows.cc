#include <cstring>

#include "kernels/cpu/cpu_backend.h"

namespace ternion::cpu {

void CpuBackend::SelectRows(TensorView<const float> x, absl::Span<const int32_t> rows_host,
                            TensorView<float> out) {
  CHECK(out.rows() == static_cast<int64_t>(rows_host.size()) && out.cols() == x.cols(), "SelectRows shapes");
  for (int64_t i = 0; i < out.rows(); ++i) {
    CHECK(rows_host[i] >= 0 && rows_host[i] < x.rows(), "SelectRows: no such row");
    std::memcpy(out.row(i), x.row(rows_host[i]), x.cols() * sizeof(float));
  }
}

}  // namespace ternion::cpu
