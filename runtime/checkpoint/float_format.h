#pragma once

#include "absl/status/status.h"
#include "runtime/checkpoint/tensor_index.h"
#include "runtime/model/config.h"

namespace ternion {

// What a config.json does not tell of a model with float activations, by its tensors: whether plain matrices are ternary with
// scales of their own (trit_groups.h), or their quantization is named nowhere (GptqFormat); the type of plain weights and of
// scales. Errors as OpenGptqMatrix, of layer 0.
absl::Status CompleteFloatFormat(const TensorIndex& index, ModelConfig& config);

}  // namespace ternion
