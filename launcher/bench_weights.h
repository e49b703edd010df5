#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace ternion {

// What `bench kernels --weights` takes: int2, int3, int4 (groups of 64 inputs, float16 scales), bf16, f16.
const std::vector<std::string>& BenchWeightNames();

// A random matrix whose inputs stay floats, and copies of it, which take turns.
class BenchWeights {
 public:
  // kInvalidArgument where the weights cannot have these sides; kResourceExhausted.
  static absl::StatusOr<BenchWeights> Make(Backend& backend, const std::string& name, int64_t outputs,
                                           int64_t inputs, int64_t rotated_bytes);

  int64_t bytes() const { return bytes_; }  // of one copy
  int64_t copies() const { return static_cast<int64_t>(std::max(uniform_.size(), dense_.size())); }
  // y = x . W^T of copy i modulo copies().                       x [T, inputs], y [T, outputs]
  void Multiply(Backend& backend, int64_t i, TensorView<const float> x, TensorView<float> y) const;

 private:
  int64_t bytes_ = 0;
  std::vector<PackedUniform> uniform_;  // or
  std::vector<DenseMatrix> dense_;
};

}  // namespace ternion
