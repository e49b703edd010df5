#pragma once

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/uniform_unit.cuh"

namespace ternion::cuda {

// Beyond so many tokens rows are rounded once for all blocks.
inline constexpr int64_t kFewUniformTokens = kTileTokens;

// The uniform matmul of 1 to kFewUniformTokens tokens (uniform_few.cu) and of more (uniform_many.cu): the same bits.
void RunUniformFew(CudaBackend& backend, const UniformFormat& format, const UniformArguments& arguments);
void RunUniformMany(CudaBackend& backend, const UniformFormat& format, const UniformArguments& arguments);

// Calls run.operator()<bits, half_scales, run>() (LaneUnit).
template <int kBits, typename Run>
void ForScales(const UniformFormat& format, int group_segments, const Run& run) {
  if (format.scale != ScaleType::kFloat16) return run.template operator()<kBits, false, 1>();
  if (group_segments % 2 == 0) return run.template operator()<kBits, true, 2>();
  run.template operator()<kBits, true, 1>();
}
template <typename Run>
void ForUniformFormat(const UniformFormat& format, int group_segments, const Run& run) {
  if (format.bits == 2) return ForScales<2>(format, group_segments, run);
  if (format.bits == 3) return ForScales<3>(format, group_segments, run);
  ForScales<4>(format, group_segments, run);
}

}  // namespace ternion::cuda
