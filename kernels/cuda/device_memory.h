#pragma once

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cuda/cuda_check.h"

namespace ternion::cuda {

// Memory on the device that grows on demand. What it outgrew stays until the end, since a recorded step may still read
// it (Backend::Replay).
class GrowingMemory {
 public:
  GrowingMemory() = default;
  ~GrowingMemory();
  GrowingMemory(const GrowingMemory&) = delete;
  GrowingMemory& operator=(const GrowingMemory&) = delete;

  // At least `bytes` bytes, aligned to 256; zeroed when they are new.
  void* Reserve(size_t bytes);

 private:
  std::vector<void*> blocks_;  // the last is the one in use
  size_t bytes_ = 0;
};

// Host values on their way to the device. A call copies them to page-locked memory (few go with a kernel's launch) and from
// there to its own place on the device, in the stream's order; both places are used again only when the copies and kernels of
// a whole round are done. Not to be recorded (Backend::Replay).
class StagingRing {
 public:
  explicit StagingRing(cudaStream_t stream) : stream_(stream) {}
  ~StagingRing();
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;

  // The values' place on the device, aligned to 256.
  template <typename T>
  const T* Upload(absl::Span<const T> values) {
    return static_cast<const T*>(UploadBytes(values.data(), values.size() * sizeof(T)));
  }
  // The same, to a place of the caller's, aligned to 16.
  void UploadTo(void* device, const void* host, size_t bytes);

 private:
  const void* UploadBytes(const void* host, size_t bytes);
  size_t Place(size_t bytes);  // in host_ and in device_
  void Copy(void* device, size_t place, const void* host, size_t bytes);
  void Grow(size_t bytes);

  cudaStream_t stream_;
  char* host_ = nullptr;
  char* device_ = nullptr;
  size_t bytes_ = 0;
  size_t next_ = 0;
};

}  // namespace ternion::cuda
