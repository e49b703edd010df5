// The head: bound by reading the table for one row (vocab * h * 2 bytes), by arithmetic for many.
#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/dense_rows.h"
#include "kernels/cpu/float_kernels.h"

namespace ternion::cpu {
namespace {

constexpr int64_t kLanesOfSum = 16;

}  // namespace

void CpuBackend::Head(TensorView<const float> x, TensorView<const BFloat16> table, TensorView<float> logits) {
  CHECK(x.cols() == table.cols() && x.cols() % kLanesOfSum == 0, "Head shapes");
  CHECK(logits.rows() == x.rows() && logits.cols() == table.rows(), "Head shapes");
  const HeadKernels& kernels = *KernelsFor(isa_).head;
  const int64_t h = x.cols(), vocab = table.rows();
  ForDenseRows(pool_, vocab, h, [&](int64_t begin, int64_t end) {
    kernels.logits(x.data(), x.rows(), &table.row(begin)->bits, end - begin, h, vocab, logits.data() + begin);
  });
}

void CpuBackend::ArgMax(TensorView<const float> logits, TensorView<int32_t> ids) {
  CHECK(ids.size() == logits.rows() && logits.cols() > 0, "ArgMax shapes");
  for (int64_t t = 0; t < logits.rows(); ++t) {
    const float* row = logits.row(t);
    ids.data()[t] = static_cast<int32_t>(std::max_element(row, row + logits.cols()) - row);
  }
}

}  // namespace ternion::cpu
