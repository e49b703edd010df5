// What stands before and after a ternary matmul, composed of the operations beside this file.
#include <numeric>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/scratch.h"

namespace ternion::cpu {
namespace {

constexpr int64_t kNormSegment = 32;

template <typename T>
class ScratchMatrix {
 public:
  ScratchMatrix(int64_t rows, int64_t cols) : data_(rows * cols), rows_(rows), cols_(cols) {}
  TensorView<T> view() { return {data_.data(), rows_, cols_}; }

 private:
  Scratch<T> data_;
  int64_t rows_;
  int64_t cols_;
};

}  // namespace

void CpuBackend::NormQuantize(TensorView<const float> x, float eps, TensorView<const float> weight, bool int4,
                              QuantizedRows out) {
  const int64_t segment = std::gcd(kNormSegment, x.cols());
  ScratchMatrix<float> sums(x.rows(), x.cols() / segment), normed(x.rows(), x.cols());
  SumSquares(x, static_cast<int>(segment), sums.view());
  RmsNorm(x, sums.view(), x.cols(), eps, weight, normed.view());
  if (int4) return QuantizeInt4(normed.view(), out);
  ScratchMatrix<float> absmax(1, x.rows());
  RowAbsMax(normed.view(), absmax.view());
  QuantizeInt8(normed.view(), absmax.view(), kInt8Floor, out);
}

void CpuBackend::SubNormQuantize(const RowInput& how, TensorView<float> x, QuantizedRows out) {
  ScratchMatrix<float> statistic(1, x.rows());
  if (!how.weight.empty()) {
    CHECK(how.segment > 0 && x.cols() % how.segment == 0, "SubNormQuantize: whole segments");
    ScratchMatrix<float> sums(x.rows(), x.cols() / how.segment);
    SumSquares(x, how.segment, sums.view());
    RmsNorm(x, sums.view(), x.cols(), how.eps, how.weight, x);
  }
  if (how.keep < x.cols()) {
    KthMagnitude(x, how.keep, statistic.view());
    ZeroBelow(statistic.view(), x);
  }
  RowAbsMax(x, statistic.view());
  QuantizeInt8(x, statistic.view(), kInt8Floor, out);
}

void CpuBackend::TernaryLinear(const PackedTernary& w, QuantizedRows x, TensorView<const float> weight_scale,
                               bool add, TensorView<float> y) {
  ScratchMatrix<int32_t> sums(y.rows(), y.cols());
  TernaryMatmul(w, x.codes, sums.view());
  if (!add) return Dequantize(sums.view(), x.scales, weight_scale, y);
  ScratchMatrix<float> part(y.rows(), y.cols());
  Dequantize(sums.view(), x.scales, weight_scale, part.view());
  Add(part.view(), y);
}

}  // namespace ternion::cpu
