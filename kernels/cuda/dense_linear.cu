#include "kernels/cuda/dense_linear.cuh"

#include "kernels/cuda/dense_batch.cuh"

namespace ternion::cuda {

void CudaBackend::DenseLinear(const DenseMatrix& w, TensorView<const float> x, TensorView<const float> bias,
                              bool add, TensorView<float> y) {
  CHECK(x.cols() == w.inputs, "x is [tokens, inputs]");
  CHECK(y.rows() == x.rows() && y.cols() == w.outputs, "y is [tokens, outputs]");
  CHECK(bias.empty() || bias.size() == w.outputs, "a bias for every output, or none");
  CHECK(w.inputs % 16 == 0, "a dense matrix has a multiple of 16 inputs");
  CHECK(
      reinterpret_cast<uintptr_t>(x.data()) % 16 == 0 && reinterpret_cast<uintptr_t>(w.data.data()) % 16 == 0,
      "DenseLinear: rows aligned to 16 bytes");
  if (y.empty()) return;
  DenseArguments arguments = {};
  arguments.weights = static_cast<const uint16_t*>(w.data.data());
  arguments.x = x.data();
  arguments.bias = bias.empty() ? nullptr : bias.data();
  arguments.y = y.data();
  arguments.outputs = w.outputs;
  arguments.tokens = x.rows();
  arguments.inputs = static_cast<int>(w.inputs);
  arguments.batches = static_cast<int>(CeilDivide(w.inputs, kDenseBatch));
  arguments.add = add;
  const int64_t blocks = CeilDivide(x.rows(), kManyDenseSide) * CeilDivide(w.outputs, kManyDenseSide);
  const bool many = x.rows() > kFewDenseTokens && blocks * 10 >= int64_t{9} * multiprocessors();
  if (many) return RunDenseMany(*this, w.type, arguments);
  RunDenseFew(*this, w.type, arguments);
}

}  // namespace ternion::cuda
