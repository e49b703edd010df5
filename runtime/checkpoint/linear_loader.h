#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "runtime/checkpoint/model_tensors.h"
#include "runtime/model/weights.h"

namespace ternion {

// A rank's share of one matrix [outputs, inputs] of the model.
struct MatrixShare {
  std::string name;
  int64_t outputs = 0;
  int64_t inputs = 0;
  Range rows;     // output channels
  Range columns;  // input channels
};

// An error of a backend, which knows no files, with what it is about in front.
absl::Status Annotate(const absl::Status& status, const std::string& where);

// Copies host values to a new buffer of the backend; no values give an empty buffer.
absl::StatusOr<Buffer> Upload(Backend& backend, absl::Span<const float> values);

// Packs the shares one below the other; they have equally many columns. Errors as LoadStage.
absl::StatusOr<TernaryLinear> LoadLinear(ModelTensors& tensors, Backend& backend, TernaryLayout layout,
                                         absl::Span<const MatrixShare> shares);

}  // namespace ternion
