#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/ternary_by_input.h"
#include "kernels/cpu/ternary_codes.h"
#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

// Every task takes a chunk of rows past all tokens.
void MatmulByOutput(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                    const TernaryKernels& kernels, ThreadPool& pool) {
  PaddedCodes padded(codes, kLineCodes, kernels, pool);
  const int64_t groups = RowGroups(w.inputs);
  const int64_t chunk = RowsPerTask(w.outputs, groups, codes.rows(), pool.threads());
  pool.ForEach(CeilDivide(w.outputs, chunk), [&](int64_t task) {
    const int64_t begin = task * chunk, end = std::min(begin + chunk, w.outputs);
    kernels.dot_rows({PackedRow(w, begin), end - begin, groups, padded.row(0), padded.sums(), padded.tokens(),
                      out.data() + begin, out.cols()});
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
  TernaryMatmulByInput(w, codes, out, kernels, pool_);
}

}  // namespace ternion::cpu
