// Stands in for bench_kernels_cuda.cc in a build without CUDA.
#include "launcher/bench.h"

namespace ternion {

absl::Status BenchCudaKernels(const KernelBenchOptions&) {
  return absl::UnavailableError("this build has no CUDA backend; use --device cpu");
}

}  // namespace ternion
