#include "kernels/delayed_reads.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/small_copies.h"

namespace ternion::cuda {
namespace {

constexpr size_t kLeastBytes = 256;

// Page-locked memory that a copy arrives in, and the event of its arrival.
class Slot {
 public:
  Slot() { CUDA_CHECK(cudaEventCreateWithFlags(&arrived_, cudaEventDisableTiming)); }
  ~Slot() {
    cudaEventDestroy(arrived_);
    cudaFreeHost(memory_);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  void Start(const void* device, size_t bytes, cudaStream_t stream) {
    if (bytes > room_) {
      CUDA_CHECK(cudaFreeHost(memory_));
      room_ = std::max(kLeastBytes, 2 * bytes);
      CUDA_CHECK(cudaMallocHost(&memory_, room_));
    }
    bytes_ = bytes;
    if (bytes <= kSmallCopyBytes && bytes % sizeof(uint32_t) == 0) {
      DownloadSmall(memory_, device, bytes, stream);
    } else {
      CUDA_CHECK(cudaMemcpyAsync(memory_, device, bytes, cudaMemcpyDeviceToHost, stream));
    }
    CUDA_CHECK(cudaEventRecord(arrived_, stream));
  }
  bool Ready() const {
    const cudaError_t state = cudaEventQuery(arrived_);
    if (state != cudaErrorNotReady) CUDA_CHECK(state);
    return state == cudaSuccess;
  }
  std::string Take() const {
    CUDA_CHECK(cudaEventSynchronize(arrived_));
    return std::string(static_cast<const char*>(memory_), bytes_);
  }

 private:
  void* memory_ = nullptr;
  size_t room_ = 0;
  size_t bytes_ = 0;
  cudaEvent_t arrived_ = nullptr;
};

class CudaDelayedReads final : public DelayedReads {
 public:
  explicit CudaDelayedReads(cudaStream_t stream) : stream_(stream) {}
  ~CudaDelayedReads() override { cudaStreamSynchronize(stream_); }  // copies may be on their way

  void Start(const void* device, size_t bytes) override {
    if (free_.empty()) free_.push_back(std::make_unique<Slot>());
    started_.push_back(std::move(free_.back()));
    free_.pop_back();
    started_.back()->Start(device, bytes, stream_);
  }
  bool Ready() override {
    CHECK(!started_.empty(), "a read was started");
    return started_.front()->Ready();
  }
  std::string Take() override {
    CHECK(!started_.empty(), "a read was started");
    std::string bytes = started_.front()->Take();
    free_.push_back(std::move(started_.front()));
    started_.pop_front();
    return bytes;
  }

 private:
  const cudaStream_t stream_;
  std::deque<std::unique_ptr<Slot>> started_;
  std::vector<std::unique_ptr<Slot>> free_;
};

}  // namespace
}  // namespace ternion::cuda

namespace ternion {

std::unique_ptr<DelayedReads> MakeCudaDelayedReads(Backend& backend) {
  return std::make_unique<cuda::CudaDelayedReads>(static_cast<cudaStream_t>(backend.stream()));
}

}  // namespace ternion
