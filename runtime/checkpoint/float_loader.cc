#include "runtime/checkpoint/float_loader.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {
namespace {

constexpr int64_t kUniformInputs = 32;    // PackedUniform's inputs and groups are multiples of this,
constexpr int64_t kDenseInputs = 16;      // DenseMatrix's of this
constexpr int64_t kDenseChunk = 1 << 20;  // elements that pass through host memory at a time

int64_t ModelGroup(const ModelConfig& config, int64_t inputs) {
  return config.uniform.group != 0 ? config.uniform.group : inputs / config.row_scales;
}

absl::Status CheckColumns(const MatrixShare& share, int64_t channels, int64_t unit) {
  if (channels % unit == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      share.name, ": of its ", share.inputs, " input channels this rank has ", share.columns.size(),
      " in groups of ", channels, "; the kernels want multiples of ", unit, ": take a smaller tp"));
}

int64_t OutputsOf(absl::Span<const MatrixShare> shares) {
  int64_t outputs = 0;
  for (const MatrixShare& share : shares) {
    CHECK(share.columns == shares.front().columns, "shares that are packed together have the same inputs");
    outputs += share.rows.size();
  }
  return outputs;
}

struct OpenShare {
  std::unique_ptr<UniformMatrix> matrix;
  Range rows;    // of the matrix
  Range packed;  // where they lie among the packed outputs
};

// The rows of `outputs` that are in `share`, from all of them.
void ReadShare(const OpenShare& share, Range outputs, Range columns, int64_t group, const UniformRows& rows) {
  const Range mine = {std::max(outputs.begin, share.packed.begin), std::min(outputs.end, share.packed.end)};
  if (mine.begin >= mine.end) return;
  const int64_t shift = share.rows.begin - share.packed.begin;
  const int64_t begin = mine.begin - outputs.begin, end = mine.end - outputs.begin;
  share.matrix->Read(
      {mine.begin + shift, mine.end + shift}, columns, group,
      {rows.codes.Rows(begin, end), rows.scales.Rows(begin, end), rows.zeros.Rows(begin, end)});
}

absl::StatusOr<PackedUniform> LoadUniform(ModelTensors& tensors, const ModelConfig& config, Backend& backend,
                                          absl::Span<const MatrixShare> shares) {
  const Range columns = shares.front().columns;
  UniformFormat format = config.uniform;
  format.group = SharedGroup(config, shares.front().inputs, columns);
  TERNION_RETURN_IF_ERROR(CheckColumns(shares.front(), format.group, kUniformInputs));
  std::vector<OpenShare> open;
  int64_t outputs = 0;
  for (const MatrixShare& share : shares) {
    TERNION_ASSIGN_OR_RETURN(auto matrix, tensors.Uniform(share.name, share.outputs, share.inputs));
    open.push_back({std::move(matrix), share.rows, {outputs, outputs + share.rows.size()}});
    outputs += share.rows.size();
  }
  const auto read = [&](Range range, const UniformRows& rows) {
    for (const OpenShare& share : open) ReadShare(share, range, columns, format.group, rows);
  };
  auto packed = backend.PackUniform(format, outputs, columns.size(), read);
  for (const OpenShare& share : open) TERNION_RETURN_IF_ERROR(share.matrix->fault());
  if (packed.ok()) return packed;
  return Annotate(packed.status(), open.front().matrix->Where());
}

absl::StatusOr<DenseMatrix> LoadDense(ModelTensors& tensors, const ModelConfig& config, Backend& backend,
                                      absl::Span<const MatrixShare> shares) {
  const int64_t inputs = shares.front().columns.size();
  TERNION_RETURN_IF_ERROR(CheckColumns(shares.front(), inputs, kDenseInputs));
  for (const MatrixShare& share : shares) {  // of that shape, before memory is taken for it
    TERNION_RETURN_IF_ERROR(tensors.Dense(share.name, share.outputs, share.inputs, {}, {}, {}));
  }
  DenseMatrix dense{config.dense, OutputsOf(shares), inputs, Buffer()};
  TERNION_ASSIGN_OR_RETURN(dense.data,
                           backend.Allocate(static_cast<size_t>(dense.outputs * inputs) * sizeof(uint16_t)));
  auto* to = static_cast<uint16_t*>(dense.data.data());
  const int64_t chunk_rows = std::max<int64_t>(1, kDenseChunk / inputs);
  std::vector<uint16_t> chunk;  // [chunk_rows, inputs]
  for (const MatrixShare& share : shares) {
    for (int64_t row = share.rows.begin; row < share.rows.end; row += chunk_rows) {
      const Range part = {row, std::min(row + chunk_rows, share.rows.end)};
      chunk.resize(static_cast<size_t>(part.size() * inputs));
      TERNION_RETURN_IF_ERROR(
          tensors.Dense(share.name, share.outputs, share.inputs, part, share.columns, absl::MakeSpan(chunk)));
      backend.CopyFromHost(to, chunk.data(), chunk.size() * sizeof(uint16_t));
      backend.Synchronize();
      to += chunk.size();
    }
  }
  return dense;
}

absl::StatusOr<Buffer> LoadBiases(ModelTensors& tensors, Backend& backend,
                                  absl::Span<const MatrixShare> shares) {
  std::vector<float> biases;  // [outputs]
  for (const MatrixShare& share : shares) {
    TERNION_RETURN_IF_ERROR(tensors.Bias(share.name, share.outputs, {}, {}));
    const size_t begin = biases.size();
    biases.resize(begin + static_cast<size_t>(share.rows.size()));
    TERNION_RETURN_IF_ERROR(
        tensors.Bias(share.name, share.outputs, share.rows, absl::MakeSpan(biases).subspan(begin)));
  }
  return Upload(backend, biases);
}

}  // namespace

int64_t SharedGroup(const ModelConfig& config, int64_t inputs, Range columns) {
  return std::gcd(std::gcd(ModelGroup(config, inputs), columns.begin), columns.size());
}

int64_t FloatLinearBytes(const ModelConfig& config, int64_t outputs, int64_t inputs, Range columns) {
  const int64_t weights = outputs * columns.size();
  if (config.weight_kind == WeightKind::kDense) return weights * static_cast<int64_t>(sizeof(uint16_t));
  const int64_t groups = columns.size() / std::max<int64_t>(1, SharedGroup(config, inputs, columns));
  const int64_t scale_bytes = config.uniform.scale == ScaleType::kFloat16 ? 2 : 4;
  return weights * config.uniform.bits / 8 + outputs * groups * (scale_bytes + 1);
}

absl::StatusOr<FloatLinear> LoadFloatLinear(ModelTensors& tensors, const ModelConfig& config,
                                            Backend& backend, absl::Span<const MatrixShare> shares,
                                            bool bias) {
  FloatLinear linear;
  if (config.weight_kind == WeightKind::kUniform) {
    TERNION_ASSIGN_OR_RETURN(linear.matrix, LoadUniform(tensors, config, backend, shares));
  } else {
    TERNION_ASSIGN_OR_RETURN(linear.matrix, LoadDense(tensors, config, backend, shares));
  }
  if (bias) {
    TERNION_ASSIGN_OR_RETURN(linear.bias, LoadBiases(tensors, backend, shares));
  }
  return linear;
}

}  // namespace ternion
