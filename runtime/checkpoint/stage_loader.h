#pragma once

#include "absl/status/statusor.h"
#include "runtime/checkpoint/model_tensors.h"
#include "runtime/model/weights.h"

namespace ternion {

// Reads and packs what the rank at `grid` holds of a model. Errors as WeightSource::LoadParts; a matrix
// whose share on this rank is all zeros is refused (kInvalidArgument), a code that is no trit too (kDataLoss).
absl::StatusOr<StageWeights> LoadStage(ModelTensors& tensors, const ModelConfig& config,
                                       const ProcessGrid& grid, Backend& backend, LoadProgress progress,
                                       PartTaker taker);

}  // namespace ternion
