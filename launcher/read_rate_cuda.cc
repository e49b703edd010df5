#include <memory>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/read_bandwidth.h"
#include "kernels/status.h"
#include "launcher/bench.h"

namespace ternion {

absl::StatusOr<double> CudaReadRate(int device) {
  constexpr int64_t kBytes = int64_t{1} << 30;
  TERNION_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> made, cuda::CudaBackend::Create(device));
  TERNION_ASSIGN_OR_RETURN(const double seconds,
                           cuda::ReadSeconds(static_cast<cuda::CudaBackend&>(*made), kBytes));
  return static_cast<double>(kBytes) / seconds;
}

}  // namespace ternion
