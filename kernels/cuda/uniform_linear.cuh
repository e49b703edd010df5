#pragma once

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/uniform_unit.cuh"

namespace ternion::cuda {

// The uniform matmul of few tokens (uniform_few.cu) and of any number (uniform_many.cu): the same bits. `segment`: its inputs.
// Every block of the first rounds the rows for itself: false, and nothing done, where they are too many or do not fit its
// shared memory.
bool RunUniformFew(CudaBackend& backend, const UniformFormat& format, int64_t segment,
                   const UniformArguments& arguments);
void RunUniformMany(CudaBackend& backend, const UniformFormat& format, int64_t segment,
                    const UniformArguments& arguments);

// Calls run.operator()<bits, half_scales, segment>().
template <int kBits, typename Run>
void ForScales(const UniformFormat& format, int64_t segment, const Run& run) {
  constexpr int kShort = static_cast<int>(kShortSegment), kLong = static_cast<int>(kLongSegment);
  const bool half = format.scale == ScaleType::kFloat16;
  if constexpr (kBits < 4) {
    if (segment == kLongSegment) {
      return half ? run.template operator()<kBits, true, kLong>()
                  : run.template operator()<kBits, false, kLong>();
    }
  }
  return half ? run.template operator()<kBits, true, kShort>()
              : run.template operator()<kBits, false, kShort>();
}
template <typename Run>
void ForUniformFormat(const UniformFormat& format, int64_t segment, const Run& run) {
  if (format.bits == 2) return ForScales<2>(format, segment, run);
  if (format.bits == 3) return ForScales<3>(format, segment, run);
  ForScales<4>(format, segment, run);
}

}  // namespace ternion::cuda
