// Rotary embedding in place, by the caller's table.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {

void CpuBackend::Rope(TensorView<float> x, int64_t column, int heads, int head_dim,
                      TensorView<const float> cos_sin, const KvSlices& slices) {
  CHECK(head_dim % 2 == 0 && cos_sin.cols() == head_dim, "Rope shapes");
  CHECK(column >= 0 && column + int64_t{heads} * head_dim <= x.cols(), "Rope: the heads lie outside the row");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  const int64_t half = head_dim / 2;
  for (const KvSlice& slice : slices.host) {
    CHECK(slice.row_begin >= 0 && slice.row_begin + slice.rows <= x.rows(), "Rope: a slice outside the step");
    CHECK(slice.position >= 0 && slice.position + slice.rows <= cos_sin.rows(),
          "Rope: a position has no angle");
    ForRowRanges(pool_, slice.rows, int64_t{heads} * head_dim, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const float* angles = cos_sin.row(slice.position + t);  // [2, half]
        float* row = x.row(slice.row_begin + t) + column;       // [heads, 2, half]
        for (int h = 0; h < heads; ++h, row += head_dim)
          kernels.rotate(angles, angles + half, half, row, row + half);
      }
    });
  }
}

}  // namespace ternion::cpu
