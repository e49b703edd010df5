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

// What a GPU that skips zero inputs holds of a matrix besides its packed form: a copy by input
// (kernels/cuda/ternary_sparse.h), outputs padded to groups of 128 * columns. Only where skipping takes less time than
// reading: kByInput matrices with more inputs than outputs, a down_proj's, and of so many weights that a kernel which reads
// them all cannot fetch most of them while it waits for its input. 8192 x 28672 on an H100: 7.7 us with 17 % of the inputs
// not zero, 15.7 with 50 %, 28.9 with all; 21.0 to read it whole. 8192 x 14336 behind the kernel that makes its input: 6.3
// with 17 %, 9.6 to read it whole.
struct ByInputCopy {
  int columns = 0;  // 0: there is none
  int64_t bytes = 0;
};
constexpr ByInputCopy ByInputCopyOf(TernaryLayout layout, int64_t outputs, int64_t inputs) {
  constexpr int64_t kLeastWeights = int64_t{100} << 20, kMostInputs = 65536, kFewOutputs = 4096;
  const bool pays =
      layout == TernaryLayout::kByInput && inputs > outputs && outputs * inputs >= kLeastWeights;
  if (!pays || inputs > kMostInputs || inputs % 4 != 0) return {};
  const int columns = outputs > kFewOutputs ? 4 : 2;
  const int64_t group = int64_t{128} * columns;
  return {columns, (outputs + group - 1) / group * group * inputs / 4};
}

// A ternary matrix W [outputs, inputs] in 2-bit codes (trit + 1), packed for one backend by Backend::PackTernary.
// The layout inside `data` is the backend's own (kernels/cpu/ternary_layout.h on the CPU).
struct PackedTernary {
  TernaryLayout layout = TernaryLayout::kByOutput;
  int64_t outputs = 0;
  int64_t inputs = 0;
  Buffer data;
};

// Weights of products that can leave some unread (Backend::weight_skips), each counted once for every token that it is
// multiplied with, and those that were left unread.
struct WeightSkips {
  int64_t weights = 0;
  int64_t skipped = 0;

  bool operator==(const WeightSkips&) const = default;
};

// Fills `codes` [inputs] with trit + 1 (0, 1 or 2) of the weights of output channel `output`.
// Called once for every output, from one thread at a time, in ascending order.
using TritReader = absl::FunctionRef<void(int64_t output, absl::Span<uint8_t> codes)>;

}  // namespace ternion
