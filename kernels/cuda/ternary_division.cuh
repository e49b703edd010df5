#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"

namespace ternion::cuda {

// A part of things that are divided as evenly as possible: the first `more` parts have one more than `each`. The division
// is the host's.
struct Part {
  int first;
  int count;
};
struct Division {
  int each;
  int more;

  static Division Of(int64_t things, int64_t parts) {
    return {static_cast<int>(things / parts), static_cast<int>(things % parts)};
  }
  __host__ __device__ int most() const { return each + (more > 0); }
  __device__ Part part(int i) const { return {i * each + min(i, more), each + (i < more)}; }
};

}  // namespace ternion::cuda
