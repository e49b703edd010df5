// Which kernel runs a ternary matmul: by its number of tokens, its layout and the device.
#include "kernels/cuda/ternary_layout.h"
#include "kernels/cuda/ternary_prefill.h"
#include "kernels/cuda/ternary_rows.h"
#include "kernels/cuda/ternary_sparse.h"

namespace ternion::cuda {
namespace {

MatmulWork WorkOf(const PackedTernary& w, TensorView<const int8_t> codes) {
  CHECK(codes.cols() == w.inputs, "the codes' columns are the matrix's inputs");
  MatmulWork work;
  work.weights = static_cast<const uint8_t*>(w.data.data());
  work.outputs = w.outputs;
  work.inputs = w.inputs;
  work.codes = codes.data();
  work.tokens = codes.rows();
  return work;
}

// One matrix: by input where it has that form, and the codes are one aligned row.
void RunMatrix(CudaBackend& backend, const PackedTernary& w, MatmulWork work, Epilogue epilogue) {
  const uint8_t* const by_input = ByInput(backend, w);
  if (by_input == nullptr || work.tokens != 1 || reinterpret_cast<uintptr_t>(work.codes) % 4 != 0) {
    return RunTernary(backend, {work}, epilogue);
  }
  work.weights = by_input;
  TernarySparse(backend, work, epilogue);
}

// Of 17 to 64 tokens, whether TernaryBatch is faster than TernaryPrefill.
bool PrefersBatch(const RowsWork& work) {
  constexpr int64_t kFewTokens = 32, kWideInputs = 16384, kSmallUnit = 32 << 20;
  const MatmulWork& matmul = work.matmul;
  if (matmul.tokens <= kFewTokens || matmul.inputs > kWideInputs) return true;
  return work.matrices() == 2 && 2 * PackedBytes(matmul.outputs, matmul.inputs) <= kSmallUnit;
}

}  // namespace

void RunTernary(CudaBackend& backend, const RowsWork& work, Epilogue epilogue) {
  const MatmulWork& matmul = work.matmul;
  if (TernaryShortFits(backend, work)) return TernaryShort(backend, work, epilogue);
  if (epilogue == Epilogue::kGateRelu2 && TernaryGatedFits(backend, matmul)) {
    return TernaryGated(backend, work);
  }
  if (TernaryDecodeFits(backend, matmul)) return TernaryDecode(backend, work, epilogue);
  if (TernaryFewFits(backend, work)) return TernaryFew(backend, work, epilogue);
  if ((matmul.tokens <= kBatchTokens && PrefersBatch(work)) ||
      !TernaryPrefillSupported(backend.properties())) {
    return TernaryBatch(backend, work, epilogue);
  }
  TernaryPrefill(backend, work, epilogue);
}

void CudaBackend::TernaryMatmul(const PackedTernary& w, TensorView<const int8_t> codes,
                                TensorView<int32_t> out) {
  CHECK(out.rows() == codes.rows() && out.cols() == w.outputs, "the sums are [tokens, outputs]");
  MatmulWork work = WorkOf(w, codes);
  if (work.tokens == 0) return;
  work.sums = out.data();
  RunMatrix(*this, w, work, Epilogue::kSums);
}

void CudaBackend::TernaryLinear(const PackedTernary& w, QuantizedRows x, TensorView<const float> weight_scale,
                                bool add, TensorView<float> y) {
  CHECK(y.rows() == x.codes.rows() && y.cols() == w.outputs, "y is [tokens, outputs]");
  CHECK(x.scales.size() == y.rows() && weight_scale.size() == y.cols(),
        "a scale for every row and every output");
  MatmulWork work = WorkOf(w, x.codes);
  if (work.tokens == 0) return;
  work.y = y.data();
  work.row_scale = x.scales.data();
  work.weight_scale = weight_scale.data();
  RunMatrix(*this, w, work, add ? Epilogue::kAdd : Epilogue::kStore);
}

}  // namespace ternion::cuda
