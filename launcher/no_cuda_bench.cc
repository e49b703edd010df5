// Stands in for bench_kernels_cuda.cc and read_rate_cuda.cc in a build without CUDA.
#include "launcher/bench.h"

namespace ternion {

absl::Status BenchCudaKernels(const KernelBenchOptions&) {
  return absl::UnavailableError("this build has no CUDA backend; use --device cpu");
}

absl::StatusOr<double> CudaReadRate(int) {
  return absl::UnavailableError("this build has no CUDA backend; use --device cpu");
}

}  // namespace ternion
