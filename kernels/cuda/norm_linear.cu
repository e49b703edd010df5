// The matmuls of rows that are normalized and quantized first.
#include "kernels/cuda/cuda_backend.h"

namespace ternion::cuda {

void CudaBackend::NormTernaryLinear(const NormInput& input, const PackedTernary& w,
                                    TensorView<const float> weight_scale, QuantizedRows codes,
                                    TensorView<float> y) {
  NormQuantize(input.x, input.eps, input.weight, input.int4, codes);
  TernaryLinear(w, codes, weight_scale, /*add=*/false, y);
}

void CudaBackend::NormGatedRelu2(const NormInput& input, const PackedTernary& gate, const PackedTernary& up,
                                 TensorView<const float> gate_scale, TensorView<const float> up_scale,
                                 QuantizedRows codes, TensorView<float> y) {
  NormQuantize(input.x, input.eps, input.weight, input.int4, codes);
  GatedRelu2(gate, up, codes, gate_scale, up_scale, y);
}

void CudaBackend::NormGatedSilu(const NormInput& input, const PackedTernary& gate, const PackedTernary& up,
                                TensorView<const float> gate_scale, TensorView<const float> up_scale,
                                QuantizedRows codes, TensorView<float> y) {
  NormQuantize(input.x, input.eps, input.weight, input.int4, codes);
  GatedSilu(gate, up, codes, gate_scale, up_scale, y);
}

void CudaBackend::SubNormTernaryLinear(const RowInput& how, TensorView<float> x, const PackedTernary& w,
                                       TensorView<const float> weight_scale, QuantizedRows codes,
                                       TensorView<float> y) {
  SubNormQuantize(how, x, codes);
  TernaryLinear(w, codes, weight_scale, /*add=*/true, y);
}

}  // namespace ternion::cuda
