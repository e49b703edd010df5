#include "kernels/cuda/device_memory.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/small_copies.h"

namespace ternion::cuda {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kRingBytes = size_t{4} << 20;

size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

GrowingMemory::~GrowingMemory() {
  for (void* block : blocks_) cudaFree(block);
}

void* GrowingMemory::Reserve(size_t bytes) {
  if (bytes > bytes_) {
    bytes_ = std::max(Aligned(bytes), 2 * bytes_);
    CUDA_CHECK(cudaMalloc(&blocks_.emplace_back(), bytes_));
    CUDA_CHECK(cudaMemset(blocks_.back(), 0, bytes_));
    CUDA_CHECK(cudaStreamSynchronize(cudaStreamLegacy));  // which our streams do not wait for
  }
  return blocks_.empty() ? nullptr : blocks_.back();
}

StagingRing::~StagingRing() {
  cudaFreeHost(host_);
  cudaFree(device_);
}

void StagingRing::UploadTo(void* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
  if (bytes <= kSmallCopyBytes) return UploadSmall(device, host, bytes, stream_);
  CUDA_CHECK(cudaMemcpyAsync(device, Stage(host, bytes), bytes, cudaMemcpyHostToDevice, stream_));
}

const void* StagingRing::UploadBytes(const void* host, size_t bytes) {
  if (bytes == 0) return nullptr;
  char* const staged = Stage(host, bytes);
  char* const device = device_ + (staged - host_);
  if (bytes <= kSmallCopyBytes) {
    UploadSmall(device, host, bytes, stream_);
    return device;
  }
  CUDA_CHECK(cudaMemcpyAsync(device, staged, bytes, cudaMemcpyHostToDevice, stream_));
  return device;
}

char* StagingRing::Stage(const void* host, size_t bytes) {
  if (Aligned(bytes) > bytes_) Grow(Aligned(bytes));
  if (next_ + Aligned(bytes) > bytes_) {
    CUDA_CHECK(cudaStreamSynchronize(stream_));  // a round is over
    next_ = 0;
  }
  char* const staged = host_ + next_;
  next_ += Aligned(bytes);
  std::memcpy(staged, host, bytes);
  return staged;
}

void StagingRing::Grow(size_t bytes) {
  CUDA_CHECK(cudaStreamSynchronize(stream_));
  CUDA_CHECK(cudaFreeHost(host_));
  CUDA_CHECK(cudaFree(device_));
  bytes_ = std::max(2 * bytes, kRingBytes);
  next_ = 0;
  void* memory = nullptr;
  CUDA_CHECK(cudaMallocHost(&memory, bytes_));
  host_ = static_cast<char*>(memory);
  CUDA_CHECK(cudaMalloc(&memory, bytes_));
  device_ = static_cast<char*>(memory);
}

}  // namespace ternion::cuda
