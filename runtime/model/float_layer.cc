#include "runtime/model/float_layer.h"

#include "kernels/status.h"
#include "runtime/model/norm.h"

namespace ternion {
namespace {

// y = x . W^T + bias, added to what is there when `add`.                 x [T, inputs], y [T, outputs]
void Apply(Backend& backend, const FloatLinear& linear, TensorView<const float> x, bool add,
           TensorView<float> y) {
  TensorView<const float> bias;
  if (!linear.bias.empty()) bias = linear.bias.As<const float>(1, y.cols());
  if (const auto* uniform = std::get_if<PackedUniform>(&linear.matrix)) {
    backend.UniformLinear(*uniform, x, bias, add, y);
  } else {
    backend.DenseLinear(std::get<DenseMatrix>(linear.matrix), x, bias, add, y);
  }
}

}  // namespace

// What a block of the layer works on.
struct FloatLayer::Step {
  Backend& backend;
  TensorParallel& ranks;
  Workspace& workspace;
  const KvLayer& cache;
  TensorView<const float> cos_sin;
  const KvSlices& slices;
  int64_t tokens;
  TensorView<float> x;  // [owned, h]
};

absl::Status FloatLayer::Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace,
                                 const KvLayer& cache, TensorView<const float> cos_sin,
                                 const KvSlices& slices, int64_t tokens, TensorView<float> x) const {
  const Step step{backend, ranks, workspace, cache, cos_sin, slices, tokens, x};
  TERNION_RETURN_IF_ERROR(AttentionBlock(step));
  return FeedForwardBlock(step);
}

absl::Status FloatLayer::AttentionBlock(const Step& step) const {
  const HeadShard& heads = shard_->heads;
  const int64_t outputs = int64_t{heads.query_heads + 2 * heads.kv_heads} * heads.head_dim;
  TERNION_ASSIGN_OR_RETURN(const auto input, Input(step, weights_->input_norm));
  const auto qkv = step.workspace.wide.As<float>(step.tokens, outputs);
  Apply(step.backend, weights_->qkv, input, /*add=*/false, qkv);
  const auto attended = step.workspace.attention.As<float>(step.tokens, shard_->attention.size());
  step.backend.RopeAttention(qkv, heads, step.cos_sin, step.slices, step.cache, attended);
  return AddRowParallel(step, weights_->o, attended);
}

absl::Status FloatLayer::FeedForwardBlock(const Step& step) const {
  const int64_t ffn = shard_->ffn.size();
  TERNION_ASSIGN_OR_RETURN(const auto input, Input(step, weights_->post_norm));
  const auto gate = step.workspace.wide.As<float>(step.tokens, ffn);
  const auto up = step.workspace.column.As<float>(step.tokens, ffn);
  Apply(step.backend, weights_->gate, input, /*add=*/false, gate);
  Apply(step.backend, weights_->up, input, /*add=*/false, up);
  step.backend.SiluMultiply(gate, up, gate);
  return AddRowParallel(step, weights_->down, gate);
}

absl::StatusOr<TensorView<const float>> FloatLayer::Input(const Step& step, const Buffer& norm) const {
  const int64_t h = step.x.cols();
  const auto all = step.workspace.normed.As<float>(step.tokens, h);
  const Range own = step.ranks.OwnedRows(step.tokens);
  const auto mine = all.Rows(own.begin, own.end);  // made where they belong among all
  Norm(step.backend, step.workspace, step.x, config_->rms_norm_eps, norm, mine);
  if (!step.ranks.sequence_parallel(step.tokens)) return all;
  TERNION_RETURN_IF_ERROR(step.ranks.GatherFloats(mine, all));
  return all;
}

absl::Status FloatLayer::AddRowParallel(const Step& step, const FloatLinear& linear,
                                        TensorView<const float> x) const {
  auto& [backend, ranks, workspace, cache, cos_sin, slices, tokens, residual] = step;
  if (ranks.size() == 1) {
    Apply(backend, linear, x, /*add=*/true, residual);
    return absl::OkStatus();
  }
  const int64_t h = residual.cols();
  const auto partial = workspace.partial.As<float>(tokens, h);
  const auto delta = workspace.delta.As<float>(residual.rows(), h);
  Apply(backend, linear, x, /*add=*/false, partial);
  if (wire_ == WireFormat::kExact) {
    TERNION_RETURN_IF_ERROR(ranks.ReduceFloats(partial, delta));
  } else {
    TERNION_RETURN_IF_ERROR(ranks.ReduceLossy(wire_, partial, nullptr, delta, nullptr));
  }
  backend.Add(delta, residual);
  return absl::OkStatus();
}

}  // namespace ternion
