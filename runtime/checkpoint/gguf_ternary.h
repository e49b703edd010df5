#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/model_tensors.h"

namespace ternion {

// A ternary matrix [outputs, inputs] of `file`, which outlives the reader; its scale is multiplied with `factor`.
// kInvalidArgument: another shape or type, blocks of different scales; kDataLoss: a scale that is not finite and
// positive. Looks at all blocks of TQ1_0 and TQ2_0 once, for their scales.
absl::StatusOr<std::unique_ptr<TernaryReader>> MakeGgufReader(const GgufFile& file, const GgufTensor& tensor,
                                                              int64_t outputs, int64_t inputs, float factor);

// The rows of `reader`, whose heads of `head_dim` rows are in the order of interleaved RoPE pairs (0, half, 1,
// half + 1, ...), in the order of halves that Hugging Face has.
std::unique_ptr<TernaryReader> HalvesOfInterleaved(std::unique_ptr<TernaryReader> reader, int head_dim);

// The one scale of all blocks of a ternary tensor; blocks of zeros may have any. Errors as MakeGgufReader.
absl::StatusOr<float> GgufScale(const Gguf& gguf, const GgufTensor& tensor);

}  // namespace ternion
