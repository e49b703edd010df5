#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/tensor.h"

namespace ternion {

// Which weights lie next to each other, chosen by what a step can skip.
enum class TernaryLayout {
  kByOutput,  // the weights of one output channel: for column-parallel layers, and for skipping output rows
  kByInput,   // the weights of one input channel: for row-parallel layers, whose zero inputs are not read
};

// A ternary matrix W [outputs, inputs] in 2-bit codes (trit + 1), packed for one backend by Backend::PackTernary.
// The layout inside `data` is the backend's own (kernels/cpu/ternary_layout.h on the CPU).
struct PackedTernary {
  TernaryLayout layout = TernaryLayout::kByOutput;
  int64_t outputs = 0;
  int64_t inputs = 0;
  Buffer data;
};

// Fills `codes` [inputs] with trit + 1 (0, 1 or 2) of the weights of output channel `output`.
// Called once for every output, from one thread at a time, in ascending order.
using TritReader = absl::FunctionRef<void(int64_t output, absl::Span<uint8_t> codes)>;

}  // namespace ternion
