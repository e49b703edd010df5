#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/model_tensors.h"
#include "runtime/checkpoint/tensor_index.h"
#include "runtime/model/config.h"

namespace ternion {

// A matrix [outputs, inputs] as GPTQ's programs and EfficientQAT write it (docs/numerics.md): NAME.qweight, NAME.qzeros,
// NAME.scales and perhaps NAME.g_idx. `index` outlives the matrix. kNotFound, kInvalidArgument (shape, dtype),
// kUnimplemented: groups that are not in the order of the channels (act-order).
absl::StatusOr<std::unique_ptr<UniformMatrix>> OpenGptqMatrix(const TensorIndex& index,
                                                              const ModelConfig& config,
                                                              const std::string& name, int64_t outputs,
                                                              int64_t inputs);

// Of a folder whose config says nothing of its quantization, but whose tensors are GPTQ's: bits and group by the shapes of
// the matrix NAME [outputs, inputs]. EfficientQAT's own folders are such; their zero points are as stored.
absl::StatusOr<UniformFormat> GptqFormat(const TensorIndex& index, const std::string& name, int64_t outputs,
                                         int64_t inputs);

}  // namespace ternion
