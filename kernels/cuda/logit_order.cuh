#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"

namespace ternion::cuda {

// Integers in the order of the floats, NaN aside; both zeros are one.
__device__ __forceinline__ uint32_t OrderOf(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
}
__device__ __forceinline__ float LogitOfOrder(uint32_t order) {
  return __uint_as_float(order ^ (order >> 31 != 0 ? 0x80000000u : 0xffffffffu));
}

}  // namespace ternion::cuda
