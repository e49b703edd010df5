#include "kernels/cuda/device_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

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
  Copy(device, Place(bytes), host, bytes);
}

const void* StagingRing::UploadBytes(const void* host, size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t place = Place(bytes);
  char* const device = device_ + place;
  if (bytes <= kSmallCopyBytes) {
    UploadSmall(device, host, bytes, stream_);
  } else {
    Copy(device, place, host, bytes);
  }
  return device;
}

size_t StagingRing::Place(size_t bytes) {
  if (Aligned(bytes) > bytes_) Grow(Aligned(bytes));
  if (next_ + Aligned(bytes) > bytes_) {
    CUDA_CHECK(cudaStreamSynchronize(stream_));  // a round is over
    next_ = 0;
  }
  return std::exchange(next_, next_ + Aligned(bytes));
}

void StagingRing::Copy(void* device, size_t place, const void* host, size_t bytes) {
  std::memcpy(host_ + place, host, bytes);
  CUDA_CHECK(cudaMemcpyAsync(device, host_ + place, bytes, cudaMemcpyHostToDevice, stream_));
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
