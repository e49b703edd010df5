// Plain weights: the head's sums (kernels/cpu/head.cc), with a bias.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/dense_rows.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/linear_result.h"
#include "kernels/cpu/scratch.h"

namespace ternion::cpu {

void CpuBackend::DenseLinear(const DenseMatrix& w, TensorView<const float> x, TensorView<const float> bias,
                             bool add, TensorView<float> y) {
  CHECK(w.inputs % 16 == 0, "a dense matrix has a multiple of 16 inputs");
  CheckLinear(w.outputs, w.inputs, x, bias, y);
  const HeadKernels& kernels = *KernelsFor(isa_).head;
  const auto dots = w.type == DenseType::kBFloat16 ? kernels.logits : kernels.half_logits;
  const uint16_t* const weights = w.data.As<uint16_t>(w.outputs, w.inputs).data();
  ForDenseRows(pool_, w.outputs, w.inputs, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    Scratch<float> sums(x.rows() * n);
    dots(x.data(), x.rows(), weights + begin * w.inputs, n, w.inputs, n, sums.data());
    StoreLinear({sums.data(), x.rows(), n}, begin, bias, add, y);
  });
}

}  // namespace ternion::cpu
