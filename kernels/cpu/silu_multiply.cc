#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {

void CpuBackend::SiluMultiply(TensorView<const float> gate, TensorView<const float> up, TensorView<float> y) {
  CHECK(gate.rows() == y.rows() && gate.cols() == y.cols(), "SiluMultiply shapes");
  CHECK(up.rows() == y.rows() && up.cols() == y.cols(), "SiluMultiply shapes");
  const RowKernels& kernels = *KernelsFor(isa_).rows;
  ForRowRanges(pool_, y.rows(), y.cols(), [&](int64_t begin, int64_t end) {
    kernels.silu_multiply(gate.row(begin), up.row(begin), (end - begin) * y.cols(), y.row(begin));
  });
}

}  // namespace ternion::cpu
