#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "runtime/model/weights.h"

namespace ternion {

// What config and grid say of a matrix.
struct MatrixForm {
  int64_t outputs = 0;
  int64_t inputs = 0;
};

// Sees every buffer of a stage, with its name and the form that it has, or is to get where it is empty.
class WeightVisitor {
 public:
  virtual ~WeightVisitor() = default;
  virtual absl::Status Floats(const std::string& name, int64_t n, Buffer& values) = 0;  // float32 [1, n]
  virtual absl::Status Table(const std::string& name, int64_t rows, int64_t cols, Buffer& values) = 0;
  virtual absl::Status Ternary(const std::string& name, TernaryLayout layout, MatrixForm form,
                               PackedTernary& matrix) = 0;
  virtual absl::Status Uniform(const std::string& name, const UniformFormat& format, MatrixForm form,
                               PackedUniform& matrix) = 0;
  virtual absl::Status Dense(const std::string& name, DenseType type, MatrixForm form,
                             DenseMatrix& matrix) = 0;
};

// Names the weights of a rank: "embedding", "layers.3.input_norm", "layers.3.qkv.ternary", "layers.3.qkv.scale", "head". Only
// what the model has is visited; the first error ends a walk.
class StageWalk {
 public:
  StageWalk(const ModelConfig& config, const ProcessGrid& grid, WeightVisitor& visitor);

  const LayerShard& shard() const { return shard_; }
  Range layers() const { return layers_; }
  bool has_embedding() const;  // false too where the rank's share of the vocabulary is empty
  bool has_head() const;
  bool has_final_norm() const { return grid_.last_stage(); }

  absl::Status Embedding(Buffer& table);
  absl::Status Layer(int64_t index, LayerWeights& layer);
  absl::Status Layer(int64_t index, FloatLayerWeights& layer);
  absl::Status FinalNorm(Buffer& norm);
  absl::Status Head(Buffer& table);

 private:
  absl::Status LinearNorms(const std::string& prefix, LayerWeights& layer);
  absl::Status Linear(const std::string& name, TernaryLayout layout, MatrixForm form, TernaryLinear& linear);
  absl::Status Linear(const std::string& name, MatrixForm form, int64_t group, FloatLinear& linear);
  MatrixForm Query() const;
  MatrixForm Key() const;
  MatrixForm Qkv() const;
  MatrixForm Output() const { return {hidden(), shard_.attention.size()}; }
  MatrixForm Up() const { return {shard_.ffn.size(), hidden()}; }
  MatrixForm Down() const { return {hidden(), shard_.ffn.size()}; }
  int64_t hidden() const { return config_.shape.hidden; }

  const ModelConfig& config_;
  const ProcessGrid grid_;
  WeightVisitor& visitor_;
  const LayerShard shard_;
  const Range layers_;
};

}  // namespace ternion
