#include <cmath>

#include "kernels/cpu/cpu_backend.h"

namespace ternion::cpu {

void CpuBackend::RowSums(TensorView<const float> sums, TensorView<float> out) {
  CHECK(out.size() == sums.rows(), "RowSums shapes");
  for (int64_t t = 0; t < sums.rows(); ++t) {
    float sum = 0;
    for (int64_t i = 0; i < sums.cols(); ++i) sum += sums.row(t)[i];
    out.data()[t] = sum;
  }
}

void CpuBackend::InverseRms(TensorView<const float> sum, int64_t width, float eps, TensorView<float> out) {
  CHECK(out.size() == sum.size(), "InverseRms shapes");
  for (int64_t t = 0; t < sum.size(); ++t) {
    out.data()[t] = 1.0f / std::sqrt(sum.data()[t] / static_cast<float>(width) + eps);
  }
}

}  // namespace ternion::cpu
