#include "parallel/nccl_outbox.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/status.h"

namespace ternion {
namespace {

absl::Status CudaStatus(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // taken
  return absl::UnavailableError(absl::StrCat(call, " failed: ", cudaGetErrorString(error)));
}

// Memory that was used once is kept. It is used again only when the message is known to have left: the other choice, to
// wait for that in the stream of the next copy, would make the sender wait for a receiver.
absl::StatusOr<cudaMemPool_t> MakePool() {
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  TERNION_RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&properties.location.id), "cudaGetDevice"));
  cudaMemPool_t pool = nullptr;
  TERNION_RETURN_IF_ERROR(CudaStatus(cudaMemPoolCreate(&pool, &properties), "cudaMemPoolCreate"));
  uint64_t kept_bytes = UINT64_MAX;
  CUDA_CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept_bytes));
  int waits = 0;
  CUDA_CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolReuseAllowInternalDependencies, &waits));
  return pool;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NcclOutbox>> NcclOutbox::Create() {
  std::unique_ptr<NcclOutbox> self(new NcclOutbox);
  TERNION_ASSIGN_OR_RETURN(const cudaMemPool_t pool, MakePool());
  self->pool_.reset(pool);
  cudaEvent_t event = nullptr;
  TERNION_RETURN_IF_ERROR(
      CudaStatus(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate"));
  self->copied_.reset(event);
  // Messages first: the next stage waits for them.
  int least = 0;
  int greatest = 0;
  CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  cudaStream_t stream = nullptr;
  TERNION_RETURN_IF_ERROR(
      CudaStatus(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest), "cudaStreamCreate"));
  self->stream_.reset(stream);
  return self;
}

absl::StatusOr<void*> NcclOutbox::Take(absl::Span<const std::byte> data, cudaStream_t from) {
  void* copy = nullptr;
  if (const cudaError_t error = cudaMallocFromPoolAsync(&copy, data.size(), pool_.get(), from);
      error != cudaSuccess) {
    cudaGetLastError();  // taken
    return absl::ResourceExhaustedError(absl::StrCat("no device memory for a message of ", data.size(),
                                                     " bytes: ", cudaGetErrorString(error)));
  }
  CUDA_CHECK(cudaMemcpyAsync(copy, data.data(), data.size(), cudaMemcpyDeviceToDevice, from));
  CUDA_CHECK(cudaEventRecord(copied_.get(), from));
  CUDA_CHECK(cudaStreamWaitEvent(stream_.get(), copied_.get(), 0));
  return copy;
}

void NcclOutbox::Release(void* copy) { CUDA_CHECK(cudaFreeAsync(copy, stream_.get())); }

}  // namespace ternion
