#include "kernels/cuda/small_copies.h"

#include <cstdint>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/device.cuh"

namespace ternion::cuda {
namespace {

// The values travel with the launch.
template <int kUnits>
struct Units {
  uint4 unit[kUnits];
};

template <int kUnits>
__global__ void __launch_bounds__(kUnits)
    StoreUnits(const __grid_constant__ Units<kUnits> units, uint4* to, int count, int rest) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < count) to[i] = units.unit[i];
  const auto* const bytes = reinterpret_cast<const uint8_t*>(units.unit + count);
  if (i < rest) reinterpret_cast<uint8_t*>(to + count)[i] = bytes[i];
}

template <int kUnits>
void Store(void* device, const void* host, size_t bytes, cudaStream_t stream) {
  Units<kUnits> units;
  std::memcpy(&units, host, bytes);
  StoreUnits<kUnits><<<1, kUnits, 0, stream>>>(units, static_cast<uint4*>(device),
                                               static_cast<int>(bytes / sizeof(uint4)),
                                               static_cast<int>(bytes % sizeof(uint4)));
  CUDA_CHECK(cudaGetLastError());
}

constexpr int kWordThreads = 256;
__global__ void __launch_bounds__(kWordThreads) CopyWords(const uint32_t* from, uint32_t* to, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kWordThreads) to[i] = from[i];
}

}  // namespace

void UploadSmall(void* device, const void* host, size_t bytes, cudaStream_t stream) {
  constexpr int kFewUnits = 32, kMostUnits = static_cast<int>(kSmallCopyBytes / sizeof(uint4));
  CHECK(bytes <= kSmallCopyBytes && reinterpret_cast<uintptr_t>(device) % sizeof(uint4) == 0,
        "a small copy to an aligned place");
  if (bytes == 0) return;
  if (bytes < kFewUnits * sizeof(uint4)) return Store<kFewUnits>(device, host, bytes, stream);
  Store<kMostUnits>(device, host, bytes, stream);
}

void DownloadSmall(void* host, const void* device, size_t bytes, cudaStream_t stream) {
  CHECK(bytes % sizeof(uint32_t) == 0, "a small copy of whole words");
  if (bytes == 0) return;
  CopyWords<<<1, kWordThreads, 0, stream>>>(static_cast<const uint32_t*>(device),
                                            static_cast<uint32_t*>(host),
                                            static_cast<int>(bytes / sizeof(uint32_t)));
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace ternion::cuda
