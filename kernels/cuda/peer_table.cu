// Rows of a table that is split over devices, read from where they lie: bound by the link's latency for few rows.
#include "kernels/cuda/peer_table.h"

#include "kernels/cuda/embedded_rows.cuh"

namespace ternion::cuda {
namespace {

template <bool kAligned>
__global__ void WidenPeerRow(const __grid_constant__ PeerTable table, const int32_t* rows,
                             const int32_t* drawn, float* out) {
  StartNext();
  WaitForPrevious();
  const int64_t column = ColumnOfRow(), left = table.cols - column;
  if (left <= 0) return;
  const int64_t row = DrawnOr(rows[blockIdx.x], drawn);
  int owner = 0;
  while (owner + 1 < table.ranks && row >= table.begin[owner + 1]) ++owner;
  const BFloat16* const from = table.of[owner] + (row - table.begin[owner]) * table.cols;
  StoreFour<kAligned>(Widened(LoadFour<kAligned>(from + column, left)),
                      out + blockIdx.x * table.cols + column, left);
}

}  // namespace

void PeerEmbedRows(const Stream& stream, const PeerTable& table, const int32_t* rows_device,
                   const int32_t* drawn, TensorView<float> out) {
  if (out.empty()) return;
  bool aligned = FoursAligned(out.cols(), out.data());
  for (int r = 0; r < table.ranks; ++r) aligned = aligned && FoursAligned(out.cols(), table.of[r]);
  Launch(stream, aligned ? WidenPeerRow<true> : WidenPeerRow<false>, ByRows(out.rows(), out.cols()), table,
         rows_device, drawn, out.data());
}

}  // namespace ternion::cuda
