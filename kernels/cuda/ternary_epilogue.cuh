#pragma once

#include "kernels/cuda/ternary_layout.h"

// What becomes of sums (Epilogue). Every road of the ternary matmul rounds the same way.
namespace ternion::cuda {

__device__ __forceinline__ float Dequantized(int sum, float row_scale, float weight_scale) {
  return static_cast<float>(sum) * (row_scale * weight_scale);
}

__device__ __forceinline__ float Gated(Epilogue epilogue, float gate, float up) {
  if (epilogue == Epilogue::kGateRelu2) return gate > 0 ? (gate * gate) * up : 0.0f;
  return gate / (1.0f + expf(-gate)) * up;
}

// Whether y is read.
template <int kMatrices>
__device__ __forceinline__ bool Reads(Epilogue epilogue) {
  return kMatrices == 1 && epilogue != Epilogue::kSums && epilogue != Epilogue::kStore;
}

// y of the matrix's f, or of the gate's and the up matrix's. `y` is what was there: a matmul of many tokens finds its gate
// in it.
template <int kMatrices>
__device__ __forceinline__ float Finished(Epilogue epilogue, const float (&f)[kMatrices], float y) {
  if constexpr (kMatrices == 2) return Gated(epilogue, f[0], f[1]);
  if (epilogue == Epilogue::kStore) return f[0];
  if (epilogue == Epilogue::kAdd) return y + f[0];
  return Gated(epilogue, y, f[0]);
}

}  // namespace ternion::cuda
