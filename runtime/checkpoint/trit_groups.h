#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/model_tensors.h"
#include "runtime/checkpoint/safetensors.h"

namespace ternion {

// Float matrices whose weights are -s, 0 or s, with scales s that differ between output channels and between equal parts of
// their rows: the form in which TriLM's models are published (Spectra, arXiv 2407.12327; their training had one scale for
// each of its model-parallel shards).

// Into how many equal parts rows fall of which each has one scale: the fewest that fit some rows of `weight`, a matrix of
// BF16, F16 or F32. Empty: its weights are others.
std::optional<int64_t> TritRowScales(const FileTensor& weight);

// The matrix as codes trit + 1 with a zero point of 1. A row that is not of this form is a fault of kInvalidArgument.
// kInvalidArgument: another shape or type. `weight` outlives the matrix.
absl::StatusOr<std::unique_ptr<UniformMatrix>> OpenTritGroups(const FileTensor& weight, int64_t outputs,
                                                              int64_t inputs);

}  // namespace ternion
