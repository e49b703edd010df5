#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/ternary_by_input.h"
#include "kernels/cpu/ternary_codes.h"
#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

void MatmulByOutput(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                    const TernaryKernels& kernels, ThreadPool& pool) {
  PaddedCodes padded(codes, kLineCodes, kernels, pool);
  const int64_t groups = RowGroups(w.inputs);
  const RowSplit split = SplitRows(w.outputs, groups, codes.rows(), pool.threads());
  pool.ForEach(CeilDivide(w.outputs, split.task_rows), [&](int64_t task) {
    const int64_t end = std::min((task + 1) * split.task_rows, w.outputs);
    for (int64_t row = task * split.task_rows; row < end; row += split.pass_rows) {
      kernels.dot_rows({PackedRow(w, row), std::min(split.pass_rows, end - row), groups, padded.row(0),
                        padded.sums(), padded.tokens(), out.data() + row, out.cols()});
    }
  });
}

}  // namespace

void CpuBackend::TernaryMatmul(const PackedTernary& w, TensorView<const int8_t> codes,
                               TensorView<int32_t> out) {
  CHECK(codes.cols() == w.inputs, "the codes' columns are the matrix's inputs");
  CHECK(out.rows() == codes.rows() && out.cols() == w.outputs, "the sums are [tokens, outputs]");
  if (codes.rows() == 0) return;
  const TernaryKernels& kernels = SelectTernaryKernels(isa_);
  if (w.layout == TernaryLayout::kByOutput) return MatmulByOutput(w, codes, out, kernels, pool_);
  TernaryMatmulByInput(w, codes, out, kernels, pool_, weight_skips_);
}

}  // namespace ternion::cpu
