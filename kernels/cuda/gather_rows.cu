// out[t] = float32(table[rows[t]]): bound by reading the rows, four channels a thread.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/embedded_rows.cuh"

namespace ternion::cuda {
namespace {

template <bool kAligned>
__global__ void WidenRow(const BFloat16* table, const int32_t* rows, const int32_t* drawn, int64_t cols,
                         float* out) {
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x, column = ColumnOfRow(), left = cols - column;
  if (left <= 0) return;
  const Four<BFloat16> words = LoadFour<kAligned>(table + DrawnOr(rows[row], drawn) * cols + column, left);
  StoreFour<kAligned>(Widened(words), out + row * cols + column, left);
}

}  // namespace

void CudaBackend::GatherRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows_host,
                             TensorView<const int32_t> drawn, TensorView<float> out) {
  CHECK(out.rows() == static_cast<int64_t>(rows_host.size()) && out.cols() == table.cols(),
        "GatherRows shapes");
  CheckRows(rows_host, table.rows(), drawn);
  if (out.empty()) return;
  const int32_t* const rows = staging_.Upload(rows_host);
  const bool aligned = FoursAligned(out.cols(), table.data(), out.data());
  Launch(stream_, aligned ? WidenRow<true> : WidenRow<false>, ByRows(out.rows(), out.cols()), table.data(),
         rows, drawn.data(), out.cols(), out.data());
}

}  // namespace ternion::cuda
