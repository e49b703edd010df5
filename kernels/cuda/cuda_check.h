#pragma once

#include <cuda_runtime_api.h>

// For calls that fail only through our own fault (a launch, a copy) or because the device is gone: both end the process.
// What may fail for want of memory is an absl::Status instead (CudaBackend::Allocate).
#define CUDA_CHECK(call)                                                  \
  do {                                                                    \
    if (const cudaError_t error_ = (call); error_ != cudaSuccess)         \
      ::ternion::cuda::CudaCallFailed(__FILE__, __LINE__, #call, error_); \
  } while (false)

namespace ternion::cuda {

[[noreturn]] void CudaCallFailed(const char* file, int line, const char* call, cudaError_t error);

}  // namespace ternion::cuda
