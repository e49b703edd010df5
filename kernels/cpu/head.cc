// The head: bound by reading the table for one row (vocab * h * 2 bytes), by arithmetic for many.
//
// A task owns a range of words whose weights stay in the second cache while every row passes over them.
#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"

namespace ternion::cpu {
namespace {

constexpr int64_t kTaskBytes = 256 << 10;
constexpr int64_t kLanesOfSum = 16;

}  // namespace

void CpuBackend::Head(TensorView<const float> x, TensorView<const BFloat16> table, TensorView<float> logits) {
  CHECK(x.cols() == table.cols() && x.cols() % kLanesOfSum == 0, "Head shapes");
  CHECK(logits.rows() == x.rows() && logits.cols() == table.rows(), "Head shapes");
  const HeadKernels& kernels = *KernelsFor(isa_).head;
  const int64_t h = x.cols(), vocab = table.rows();
  const int64_t words = std::max<int64_t>(8, kTaskBytes / 2 / std::max<int64_t>(1, h) / 8 * 8);
  pool_.ForEach((vocab + words - 1) / words, [&](int64_t task) {
    const int64_t begin = task * words, end = std::min(vocab, begin + words);
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
