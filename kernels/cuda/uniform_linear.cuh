#pragma once

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/uniform_unit.cuh"

namespace ternion::cuda {

// Beyond so many tokens rows are rounded once for all blocks.
inline constexpr int64_t kFewUniformTokens = kTileTokens;

// The uniform matmul of 1 to kFewUniformTokens tokens (uniform_few.cu) and of more (uniform_many.cu): the same bits.
void RunUniformFew(CudaBackend& backend, const UniformFormat& format, const UniformArguments& arguments);
void RunUniformMany(CudaBackend& backend, const UniformFormat& format, const UniformArguments& arguments);

// Calls run.operator()<bits, half_scales>().
template <typename Run>
void ForUniformFormat(const UniformFormat& format, const Run& run) {
  const bool half = format.scale == ScaleType::kFloat16;
  if (format.bits == 2)
    return half ? run.template operator()<2, true>() : run.template operator()<2, false>();
  if (format.bits == 3)
    return half ? run.template operator()<3, true>() : run.template operator()<3, false>();
  return half ? run.template operator()<4, true>() : run.template operator()<4, false>();
}

}  // namespace ternion::cuda
