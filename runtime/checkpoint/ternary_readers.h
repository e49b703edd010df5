#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/model_tensors.h"
#include "runtime/checkpoint/safetensors.h"

namespace ternion {

// Packed trits: `weight` is U8 [outputs / 4, inputs], and output channel o lies in byte row o mod (outputs /
// 4), bits 2 * (o div (outputs / 4)). kInvalidArgument when the tensor is not that.
absl::StatusOr<std::unique_ptr<TernaryReader>> MakePackedReader(const FileTensor& weight, int64_t outputs,
                                                                int64_t inputs, float scale);

// Float weights [outputs, inputs], made ternary as BitNet b1.58 does: a = max(mean |W| of the whole matrix,
// 1e-5), trit = clip(rint(W / a), -1, 1), scale a. The mean is added in float64 and rounded to float32, so it
// does not depend on the shard. Reads the whole tensor once. kInvalidArgument: shape or dtype; kDataLoss: not
// finite.
absl::StatusOr<std::unique_ptr<TernaryReader>> MakeOnlineReader(const FileTensor& weight, int64_t outputs,
                                                                int64_t inputs);

}  // namespace ternion
