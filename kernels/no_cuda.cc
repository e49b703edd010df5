// Stands in for kernels/cuda in a build without it.
#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/delayed_reads.h"
#include "kernels/device_memory_query.h"
#include "kernels/peer_exchange.h"

namespace ternion {

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int) {
  return absl::UnavailableError("this build has no CUDA backend; use --device cpu");
}

absl::StatusOr<std::unique_ptr<PeerExchange>> MakeCudaPeerExchange(Backend&, int, int, int64_t, int64_t,
                                                                   int64_t, GatherStrings) {
  return absl::UnavailableError("this build has no CUDA backend");
}

std::unique_ptr<DelayedReads> MakeCudaDelayedReads(Backend&) {
  CHECK(false, "a backend with a stream in a build without CUDA");
}

int CudaDeviceCount() { return 0; }

std::string CudaDeviceName(int) { return ""; }

absl::StatusOr<DeviceMemory> QueryCudaMemory(int) {
  return absl::UnavailableError("this build has no CUDA backend");
}

}  // namespace ternion
