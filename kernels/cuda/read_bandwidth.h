#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/cuda/cuda_backend.h"

namespace ternion::cuda {

// Seconds that a kernel which only reads takes for `bytes` bytes of device memory, launch by launch in a graph: the floor
// under any kernel that streams a matrix of so many bytes. The fastest of a few ways to read; the bytes take turns over
// more than L2 holds. kResourceExhausted when there is no memory for that.
absl::StatusOr<double> ReadSeconds(CudaBackend& backend, int64_t bytes);

}  // namespace ternion::cuda
