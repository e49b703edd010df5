// Stands in for the files *_cuda.cc beside it in a build without CUDA.
#include "launcher/bench.h"
#include "launcher/bench_collectives.h"
#include "launcher/bench_device.h"

namespace ternion {
namespace {

absl::Status NoCuda() { return absl::UnavailableError("this build has no CUDA backend; use --device cpu"); }

}  // namespace

absl::Status BenchCudaKernels(const KernelBenchOptions&) { return NoCuda(); }

absl::StatusOr<double> CudaReadRate(int) { return NoCuda(); }

absl::StatusOr<std::unique_ptr<BenchDevice>> OpenCudaBench() { return NoCuda(); }

absl::StatusOr<std::unique_ptr<CollectiveDevice>> OpenCudaCollectives(MpiSession&) { return NoCuda(); }

}  // namespace ternion
