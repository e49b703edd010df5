#include "kernels/device_memory_query.h"

#include <cuda_runtime_api.h>

#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

absl::Status Unavailable(int device, cudaError_t error) {
  cudaGetLastError();  // taken
  return absl::UnavailableError(
      absl::StrCat("CUDA device ", device, " cannot be used: ", cudaGetErrorString(error)));
}

}  // namespace

int CudaDeviceCount() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) == cudaSuccess) return devices;
  cudaGetLastError();  // taken
  return 0;
}

std::string CudaDeviceName(int device) {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, device) == cudaSuccess) return properties.name;
  cudaGetLastError();  // taken
  return "";
}

absl::StatusOr<DeviceMemory> QueryCudaMemory(int device) {
  int current = 0;
  if (const cudaError_t error = cudaGetDevice(&current); error != cudaSuccess)
    return Unavailable(device, error);
  if (const cudaError_t error = cudaSetDevice(device); error != cudaSuccess)
    return Unavailable(device, error);
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  const cudaError_t error = cudaMemGetInfo(&free_bytes, &total_bytes);
  cudaSetDevice(current);
  if (error != cudaSuccess) return Unavailable(device, error);
  return DeviceMemory{static_cast<int64_t>(free_bytes), static_cast<int64_t>(total_bytes)};
}

}  // namespace ternion
