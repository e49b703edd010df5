#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/ternary_epilogue.cuh"

namespace ternion::cuda {
namespace {

template <bool kAligned>
__global__ void MultiplySilu(const float* gate, const float* up, int64_t size, float* y) {
  StartNext();
  WaitForPrevious();
  const int64_t begin = ElementOfAll();
  if (begin >= size) return;
  Four<float> product = LoadFour<kAligned>(gate + begin, size - begin);
  const Four<float> other = LoadFour<kAligned>(up + begin, size - begin);
#pragma unroll
  for (int i = 0; i < 4; ++i) product.v[i] = Gated(Epilogue::kGateSilu, product.v[i], other.v[i]);
  StoreFour<kAligned>(product, y + begin, size - begin);
}

}  // namespace

void CudaBackend::SiluMultiply(TensorView<const float> gate, TensorView<const float> up,
                               TensorView<float> y) {
  CHECK(gate.rows() == y.rows() && gate.cols() == y.cols(), "SiluMultiply shapes");
  CHECK(up.rows() == y.rows() && up.cols() == y.cols(), "SiluMultiply shapes");
  if (y.empty()) return;
  const auto kernel =
      FoursAligned(y.size(), gate.data(), up.data(), y.data()) ? MultiplySilu<true> : MultiplySilu<false>;
  Launch(stream_, kernel, AsOneRow(y.size()), gate.data(), up.data(), y.size(), y.data());
}

}  // namespace ternion::cuda
