#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ternion {

// Copies of messages that are on their way, and the stream they leave on. A copy's memory is used again when its message
// has left, never by making anybody wait: the pool takes more from the device instead.
class NcclOutbox {
 public:
  static absl::StatusOr<std::unique_ptr<NcclOutbox>> Create();

  cudaStream_t stream() const { return stream_.get(); }
  // Copies `data` in the order of the stream `from`; what is enqueued on stream() from here on sees the copy.
  // kResourceExhausted when the device has no memory for it.
  absl::StatusOr<void*> Take(absl::Span<const std::byte> data, cudaStream_t from);
  // To be called when all that reads the copy is enqueued on stream().
  void Release(void* copy);

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
    void operator()(cudaMemPool_t pool) const { cudaMemPoolDestroy(pool); }
  };

  NcclOutbox() = default;

  std::unique_ptr<CUmemPoolHandle_st, Destroy> pool_;
  std::unique_ptr<CUevent_st, Destroy> copied_;
  std::unique_ptr<CUstream_st, Destroy> stream_;
};

}  // namespace ternion
