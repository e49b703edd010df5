#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace ternion::cuda {

// A few values between host and device, by kernels: a copy engine takes several microseconds longer, in which the stream
// waits. They run alone in the stream: what follows sees the values before it starts.

inline constexpr size_t kSmallCopyBytes = 3840;  // at most; a kernel's arguments may take 4 KiB

// Copies `bytes` <= kSmallCopyBytes of host memory, which may change when it returns, to `device`, aligned to 16.
void UploadSmall(void* device, const void* host, size_t bytes, cudaStream_t stream);

// Copies `bytes` from `device`, aligned to 4, to `host`, page-locked, in the stream's order; a multiple of 4.
void DownloadSmall(void* host, const void* device, size_t bytes, cudaStream_t stream);

}  // namespace ternion::cuda
