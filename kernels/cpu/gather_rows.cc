// out[t] = float32(table[rows[t]]): bound by reading the rows.
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {

void CpuBackend::GatherRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows_host,
                            TensorView<const int32_t> drawn, TensorView<float> out) {
  CHECK(out.rows() == static_cast<int64_t>(rows_host.size()) && out.cols() == table.cols(),
        "GatherRows shapes");
  std::vector<int32_t> rows(rows_host.begin(), rows_host.end());
  for (int32_t& row : rows) {
    CHECK(row >= 0 || ~row < drawn.size(), "GatherRows: nothing such was drawn");
    if (row < 0) row = drawn.data()[~row];
    CHECK(row >= 0 && row < table.rows(), "GatherRows: no such row");
  }
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, out.rows(), out.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      kernels.widen_bf16(&table.row(rows[t])->bits, out.cols(), out.row(t));
    }
  });
}

}  // namespace ternion::cpu
