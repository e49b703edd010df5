#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/cuda/cuda_backend.h"

namespace ternion::cuda {

enum class VendorType {
  kFloat16,  // fp16 in and out, fp32 sums
  kInt8,     // int8 in, int32 out
};

// Seconds that cuBLASLt takes for codes [tokens, inputs] . W [outputs, inputs]^T, launch by launch in a graph: the fastest
// of the first algorithms that its heuristic names. The weights take turns over more than L2 holds. kUnavailable when
// libcublasLt cannot be loaded (it is looked up at run time) or has no algorithm for the shape.
absl::StatusOr<double> VendorMatmulSeconds(CudaBackend& backend, VendorType type, int64_t outputs,
                                           int64_t inputs, int64_t tokens);

}  // namespace ternion::cuda
