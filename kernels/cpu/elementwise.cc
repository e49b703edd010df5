// Additions, maxima and row factors in place: bound by memory.
#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {

void CpuBackend::Add(TensorView<const float> y, TensorView<float> x) {
  CHECK(x.rows() == y.rows() && x.cols() == y.cols(), "Add shapes");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    kernels.add(y.row(begin), (end - begin) * x.cols(), x.row(begin));
  });
}

void CpuBackend::AddInt32(TensorView<const int32_t> part, TensorView<int32_t> sum) {
  CHECK(sum.rows() == part.rows() && sum.cols() == part.cols(), "AddInt32 shapes");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, sum.rows(), sum.cols(), [&](int64_t begin, int64_t end) {
    kernels.add_int32(part.row(begin), (end - begin) * sum.cols(), sum.row(begin));
  });
}

void CpuBackend::Maximum(TensorView<const float> y, TensorView<float> x) {
  CHECK(x.rows() == y.rows() && x.cols() == y.cols(), "Maximum shapes");
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = std::max(x.data()[i], y.data()[i]);
}

void CpuBackend::ScaleRows(TensorView<const float> factor, TensorView<float> x) {
  CHECK(factor.size() == x.rows(), "ScaleRows shapes");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernels.scale(factor.data()[t], x.cols(), x.row(t));
  });
}

}  // namespace ternion::cpu
