#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/range.h"
#include "kernels/tensor.h"
#include "kernels/uniform_sizes.h"

namespace ternion {

// Linear layers whose inputs stay floats: uniformly quantized weights and plain ones.

// How scales lie in memory. kFloat32 where the model has no 16-bit ones.
enum class ScaleType : uint8_t { kFloat16, kFloat32 };

// Uniform quantization by groups of input channels: W[o][i] = (q[o][i] - zero[o][g]) * scale[o][g], g = i / group
// (EfficientQAT, arXiv 2407.11062, equation 1; GPTQ's files).
struct UniformFormat {
  int bits = 2;        // of q and zero: 2, 3 or 4
  int64_t group = 64;  // input channels of a scale: a multiple of 32, or all inputs
  ScaleType scale = ScaleType::kFloat16;

  constexpr int64_t Groups(int64_t inputs) const { return (inputs + group - 1) / group; }
  bool operator==(const UniformFormat&) const = default;
};

// Input channels that are rounded with one absolute maximum: 64 where no group ends between them and a segment's sum of
// products stays below 2^24.
constexpr int64_t UniformSegment(const UniformFormat& format, int64_t inputs) {
  const int64_t group = format.group < inputs ? format.group : inputs;
  const bool is_long = format.bits < 4 && group % kLongSegment == 0 && inputs % kLongSegment == 0;
  return is_long ? kLongSegment : kShortSegment;
}

// A matrix [outputs, inputs] packed for one backend by Backend::PackUniform; inputs are a multiple of 32. The layout inside
// `data` is the backend's own.
struct PackedUniform {
  UniformFormat format;
  int64_t outputs = 0;
  int64_t inputs = 0;
  Buffer data;
};

// What a reader fills for some output channels.
struct UniformRows {
  TensorView<uint8_t> codes;  // q [outputs, inputs]
  TensorView<float> scales;   // [outputs, groups]; kFloat16's are exact in 16 bits
  TensorView<uint8_t> zeros;  // [outputs, groups]
};
// Called once for every output, in ascending ranges of at most kUniformRows, by one thread at a time.
using UniformReader = absl::FunctionRef<void(Range outputs, const UniformRows& rows)>;
inline constexpr int64_t kUniformRows = 64;

// A matrix of plain weights, as a model's file has them.
enum class DenseType : uint8_t { kBFloat16, kFloat16 };
struct DenseMatrix {
  DenseType type = DenseType::kBFloat16;
  int64_t outputs = 0;
  int64_t inputs = 0;  // a multiple of 16
  Buffer data;         // 16-bit floats [outputs, inputs]
};

}  // namespace ternion
