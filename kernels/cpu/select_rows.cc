// Rows and columns to other places.
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

void CpuBackend::PickRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows_host,
                          TensorView<BFloat16> out) {
  CHECK(out.rows() == static_cast<int64_t>(rows_host.size()) && out.cols() == table.cols(),
        "PickRows shapes");
  for (int64_t i = 0; i < out.rows(); ++i) {
    CHECK(rows_host[i] >= 0 && rows_host[i] < table.rows(), "PickRows: no such row");
    std::memcpy(out.row(i), table.row(rows_host[i]), table.cols() * sizeof(BFloat16));
  }
}

void CpuBackend::CopyColumns(TensorView<const float> from, int64_t column, TensorView<float> to) {
  CHECK(from.rows() == to.rows() && column >= 0 && column + from.cols() <= to.cols(), "CopyColumns shapes");
  if (from.empty()) return;
  for (int64_t t = 0; t < from.rows(); ++t) {
    std::memcpy(to.row(t) + column, from.row(t), from.cols() * sizeof(float));
  }
}

}  // namespace ternion::cpu
