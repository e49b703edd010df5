#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/float_linear.h"
#include "kernels/tensor.h"
#include "parallel/sharding.h"

namespace ternion {

// One whole ternary matrix of a model, read row by row.
class TernaryReader {
 public:
  virtual ~TernaryReader() = default;

  // What the exact product of codes and trits is multiplied with: the matrix's weight_scale, never an
  // inverse.
  virtual float scale() const = 0;
  // trit + 1 of the weights between output channel `output` and input channels `inputs`. A code over 2 means
  // that the source holds none there.
  virtual void Read(int64_t output, Range inputs, absl::Span<uint8_t> codes) = 0;
  // Names the file and the tensor, for errors.
  virtual std::string Where() const = 0;
};

// One whole uniformly quantized matrix of a model, read by blocks of output channels.
class UniformMatrix {
 public:
  virtual ~UniformMatrix() = default;

  // What lies between output channels `outputs` and input channels `inputs`, which `rows` has in groups of `group` channels:
  // whole groups of the matrix, or parts of equal size of them.
  virtual void Read(Range outputs, Range inputs, int64_t group, const UniformRows& rows) = 0;
  // What was wrong with what has been read; it names the file and the tensor.
  virtual absl::Status fault() const = 0;
  // As TernaryReader's.
  virtual std::string Where() const = 0;
};

// A model's tensors by the names of a Hugging Face checkpoint without their ".weight", such as
// "model.layers.0.self_attn.q_proj". The shapes are what the caller expects of the whole tensor, and are checked, also
// where an empty part is asked for. Errors name the file and the tensor: kNotFound, kInvalidArgument (shape, dtype),
// kDataLoss (values).
class ModelTensors {
 public:
  virtual ~ModelTensors() = default;

  virtual absl::StatusOr<std::unique_ptr<TernaryReader>> Ternary(const std::string& name, int64_t outputs,
                                                                 int64_t inputs) = 0;
  // Of models whose weights are uniformly quantized (ModelConfig::weight_kind).
  virtual absl::StatusOr<std::unique_ptr<UniformMatrix>> Uniform(const std::string& name, int64_t outputs,
                                                                 int64_t inputs) = 0;
  // Of models of plain weights: rows `rows` and columns `columns` of a matrix [outputs, inputs] of finite values, in
  // ModelConfig::dense.                                              out [rows.size(), columns.size()]
  virtual absl::Status Dense(const std::string& name, int64_t outputs, int64_t inputs, Range rows,
                             Range columns, absl::Span<uint16_t> out) = 0;
  // Elements `part` of the n finite floats that a matrix's bias has (`name` + ".bias").
  virtual absl::Status Bias(const std::string& name, int64_t n, Range part, absl::Span<float> out) = 0;
  // Elements `part` of a vector of n finite floats.
  virtual absl::Status Vector(const std::string& name, int64_t n, Range part, absl::Span<float> out) = 0;
  // Rows `part` of a table [rows, cols] of finite values.             out [part.size(), cols]
  virtual absl::Status Table(const std::string& name, int64_t rows, int64_t cols, Range part,
                             absl::Span<BFloat16> out) = 0;
};

}  // namespace ternion
