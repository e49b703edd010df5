#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "parallel/tensor_parallel.h"
#include "runtime/model/weights.h"
#include "runtime/model/workspace.h"

namespace ternion {

// Normalizes and quantizes the residual once for the column-parallel layers that read it, and shares the codes: what
// travels is what the matmul consumes.
//                                                    x [owned, h] -> workspace.codes [T, h], workspace.input_scales [1, T]
class ColumnParallelInput {
 public:
  ColumnParallelInput(const ModelConfig& config, float eps, const Buffer& norm)
      : config_(&config), eps_(eps), norm_(&norm) {}

  // `made`: the row-parallel layer before has done it.
  absl::StatusOr<QuantizedRows> Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace,
                                        int64_t tokens, bool made, TensorView<const float> x) const;

 private:
  const ModelConfig* config_;
  float eps_;
  const Buffer* norm_;
};

// A layer whose input channels are spread over the ranks: o_proj and down_proj, with the sub-norm, the top-K and the
// quantizer before it. Exact wires take these row statistics over the whole row; lossy ones need less of them
// (docs/design.md, sub-norms and scales).
class RowParallelLinear {
 public:
  struct Shape {
    int64_t width = 0;              // input channels of all ranks
    int segment = 0;                // channels per sum-of-squares segment
    std::vector<int64_t> channels;  // input channels of each rank
    int64_t own_begin = 0;          // this rank's first channel
    double keep = 1.0;              // top-K: share of the row's channels that is kept
  };

  // `sub_norm` [1, width] may be empty. `next_norm` [1, h]: the norm before the column-parallel layers that follow; null
  // where none follow.
  RowParallelLinear(const ModelConfig& config, Shape shape, WireFormat wire, const TernaryLinear& linear,
                    const Buffer& sub_norm, const Buffer* next_norm);

  // residual += the layer's output. True: it was normalized and quantized too, as ColumnParallelInput does.
  //                                             x [T, own channels], overwritten; residual [owned, h]
  absl::StatusOr<bool> Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace,
                               TensorView<float> x, TensorView<float> residual) const;

 private:
  struct Step;  // what one call passes around
  absl::Status NormalizeWholeRows(Step& step) const;
  absl::Status KeepTopK(Step& step) const;
  void ForwardAlone(Step& step, TensorView<float> residual) const;
  bool ForwardThroughPeers(Step& step, TensorView<float> residual) const;
  absl::Status ForwardExact(Step& step, TensorView<float> delta) const;
  absl::Status ForwardLossy(Step& step, TensorView<float> residual) const;
  // The codes of this rank's channels, and the sums of their squares where rows are normalized.
  absl::Status QuantizeOwnChannels(Step& step, TensorView<float> squares) const;
  int64_t kept() const;  // channels of a row that the top-K keeps
  RowInput WholeRow() const;
  QuantizedRows InputOf(const Step& step) const;
  // The sub-norm's weights of this rank's channels.
  TensorView<const float> own_weights() const;

  const ModelConfig* config_;
  Shape shape_;
  std::vector<int64_t> segments_;  // of each rank
  WireFormat wire_;
  const TernaryLinear* linear_;
  const Buffer* sub_norm_;
  const Buffer* next_norm_;
};

}  // namespace ternion
