#pragma once

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "runtime/checkpoint/linear_loader.h"
#include "runtime/checkpoint/model_tensors.h"
#include "runtime/model/config.h"
#include "runtime/model/weights.h"

namespace ternion {

// Packs the shares of uniformly quantized or plain matrices one below the other, and their biases where `bias`; they have
// equally many columns. Errors as LoadStage; kInvalidArgument also where a share's columns are too odd a number for the
// kernels.
absl::StatusOr<FloatLinear> LoadFloatLinear(ModelTensors& tensors, const ModelConfig& config,
                                            Backend& backend, absl::Span<const MatrixShare> shares,
                                            bool bias);

// Channels of a group in which a rank holds `columns` of a matrix of `inputs` channels: the model's group, or a part of it
// where a group lies on two ranks.
int64_t SharedGroup(const ModelConfig& config, int64_t inputs, Range columns);

// Bytes of the weights and their scales in such a share, as packed for decoding; the backend may pad.
int64_t FloatLinearBytes(const ModelConfig& config, int64_t outputs, int64_t inputs, Range columns);

}  // namespace ternion
