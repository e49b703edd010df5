#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace ternion {

// The CUDA devices that this process sees; 0 without a driver, or in a build without CUDA.
int CudaDeviceCount();

// The product's name, such as "NVIDIA H200"; empty when there is no such device.
std::string CudaDeviceName(int device);

struct DeviceMemory {
  int64_t free_bytes = 0;
  int64_t total_bytes = 0;
};
// kUnavailable when there is no such device or it cannot be used.
absl::StatusOr<DeviceMemory> QueryCudaMemory(int device);

}  // namespace ternion
