#include "runtime/model/parallel_linear.h"

#include <cmath>
#include <utility>

#include "kernels/status.h"

namespace ternion {
namespace {

// As kInt8Floor for rows that are not normalized yet, which may be of any size: only true zeros.
constexpr float kUnnormalizedFloor = 1e-30f;

bool TakesInt4(const ModelConfig& config) { return config.input == InputQuantization::kInt4; }

// Of all T rows: what column-parallel layers read.
QuantizedRows SharedInput(const Workspace& workspace, int64_t tokens, int64_t h) {
  return {workspace.codes.As<int8_t>(tokens, h), workspace.input_scales.As<float>(1, tokens)};
}

}  // namespace

absl::StatusOr<QuantizedRows> ColumnParallelInput::Forward(Backend& backend, TensorParallel& ranks,
                                                           Workspace& workspace, int64_t tokens, bool made,
                                                           TensorView<const float> x) const {
  const int64_t h = x.cols();
  const bool int4 = TakesInt4(*config_);
  const QuantizedRows all = SharedInput(workspace, tokens, h);
  if (made) return all;
  const Range own = ranks.OwnedRows(tokens);  // made where they belong among all
  const QuantizedRows mine = all.Rows(own.begin, own.end);
  backend.NormQuantize(x, eps_, norm_->As<float>(1, h), int4, mine);
  if (!ranks.sequence_parallel(tokens)) return all;
  TERNION_RETURN_IF_ERROR(ranks.GatherCodes(int4, {mine.codes, mine.scales}, all));
  return all;
}

// A call's tensors: rows are the step's tokens.
struct RowParallelLinear::Step {
  Backend& backend;
  TensorParallel& ranks;
  Workspace& workspace;
  TensorView<float> x;     // [T, own]
  TensorView<float> sums;  // segment sums of squares, own [T, own / segment]
};

RowParallelLinear::RowParallelLinear(const ModelConfig& config, Shape shape, WireFormat wire,
                                     const TernaryLinear& linear, const Buffer& sub_norm,
                                     const Buffer* next_norm)
    : config_(&config),
      shape_(std::move(shape)),
      wire_(wire),
      linear_(&linear),
      sub_norm_(&sub_norm),
      next_norm_(next_norm) {
  for (int64_t channels : shape_.channels) segments_.push_back(channels / shape_.segment);
}

int64_t RowParallelLinear::kept() const {
  return static_cast<int64_t>(std::floor(static_cast<double>(shape_.width) * shape_.keep + 0.5));
}

TensorView<const float> RowParallelLinear::own_weights() const {
  return {sub_norm_->As<const float>(1, shape_.width).data() + shape_.own_begin, 1, linear_->packed.inputs};
}

RowInput RowParallelLinear::WholeRow() const {
  RowInput how;
  if (!sub_norm_->empty()) how.weight = sub_norm_->As<float>(1, shape_.width);
  how.segment = shape_.segment;
  how.eps = config_->sub_norm_eps;
  how.keep = shape_.keep < 1.0 ? kept() : shape_.width;
  return how;
}

QuantizedRows RowParallelLinear::InputOf(const Step& step) const {
  return {step.workspace.codes.As<int8_t>(step.x.rows(), step.x.cols()),
          step.workspace.scales.As<float>(1, step.x.rows())};
}

absl::StatusOr<bool> RowParallelLinear::Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace,
                                                TensorView<float> x, TensorView<float> residual) const {
  Step step{backend, ranks, workspace, x, workspace.segments.As<float>(x.rows(), x.cols() / shape_.segment)};
  if (ranks.size() == 1) {
    ForwardAlone(step, residual);  // sends nothing, so no wire loses anything
    return false;
  }
  if (wire_ == WireFormat::kExact && ranks.PeersTake(x.rows(), WholeRow(), shape_.channels)) {
    return ForwardThroughPeers(step, residual);
  }
  if (wire_ != WireFormat::kExact) {
    TERNION_RETURN_IF_ERROR(ForwardLossy(step, residual));
    return false;
  }
  const auto delta = workspace.delta.As<float>(residual.rows(), residual.cols());
  TERNION_RETURN_IF_ERROR(ForwardExact(step, delta));
  backend.Add(delta, residual);
  return false;
}

void RowParallelLinear::ForwardAlone(Step& step, TensorView<float> residual) const {
  const QuantizedRows input = InputOf(step);
  step.backend.SubNormQuantize(WholeRow(), step.x, input);
  step.backend.TernaryLinear(linear_->packed, input, linear_->scale.As<float>(1, residual.cols()),
                             /*add=*/true, residual);
}

bool RowParallelLinear::ForwardThroughPeers(Step& step, TensorView<float> residual) const {
  const int64_t tokens = step.x.rows();
  const int64_t h = residual.cols();
  const QuantizedRows input = InputOf(step);
  const auto partial = step.workspace.sums.As<int32_t>(tokens, h);
  step.ranks.PeerSubNormQuantize(WholeRow(), shape_.channels, step.x, input);
  step.backend.TernaryMatmul(linear_->packed, input.codes, partial);
  const auto weight_scale = linear_->scale.As<const float>(1, h);
  if (next_norm_ == nullptr || !step.ranks.PeersTakeNorm(h)) {
    step.ranks.PeerReduceAdd(partial, input.scales, weight_scale, residual);
    return false;
  }
  step.ranks.PeerReduceAddNormQuantize(partial, input.scales, weight_scale, residual, config_->rms_norm_eps,
                                       next_norm_->As<const float>(1, h), TakesInt4(*config_),
                                       SharedInput(step.workspace, tokens, h));
  return true;
}

absl::Status RowParallelLinear::ForwardExact(Step& step, TensorView<float> delta) const {
  auto& [backend, ranks, workspace, x, sums] = step;
  const int64_t tokens = x.rows();
  const int64_t h = delta.cols();
  if (!sub_norm_->empty()) TERNION_RETURN_IF_ERROR(NormalizeWholeRows(step));
  TERNION_RETURN_IF_ERROR(KeepTopK(step));
  const auto absmax = workspace.row_absmax.As<float>(1, tokens);
  backend.RowAbsMax(x, absmax);
  TERNION_RETURN_IF_ERROR(ranks.MaxOverRanks(absmax));
  const QuantizedRows input = InputOf(step);
  backend.QuantizeInt8(x, absmax, kInt8Floor, input);

  const auto partial = workspace.sums.As<int32_t>(tokens, h);
  const auto reduced = workspace.reduced.As<int32_t>(delta.rows(), h);
  backend.TernaryMatmul(linear_->packed, input.codes, partial);
  TERNION_RETURN_IF_ERROR(ranks.ReduceExact(partial, reduced));
  const Range owned = ranks.OwnedRows(tokens);
  backend.Dequantize(reduced, input.Rows(owned.begin, owned.end).scales, linear_->scale.As<float>(1, h),
                     delta);
  return absl::OkStatus();
}

// Codes do not change when a row is multiplied by a positive number, so the row is quantized before it is
// divided by its rms, which is only known when all ranks' squares are summed: they travel with the rows.
// Every rank takes the absmax of its own channels, finer than one for the whole row.
absl::Status RowParallelLinear::ForwardLossy(Step& step, TensorView<float> residual) const {
  auto& [backend, ranks, workspace, x, sums] = step;
  const int64_t tokens = x.rows();
  const int64_t h = residual.cols();
  const bool normalizes = !sub_norm_->empty();
  const auto squares = workspace.row_statistic.As<float>(1, tokens);
  TERNION_RETURN_IF_ERROR(QuantizeOwnChannels(step, squares));
  const auto partial = workspace.partial.As<float>(tokens, h);
  backend.TernaryLinear(linear_->packed, InputOf(step), linear_->scale.As<float>(1, h), /*add=*/false,
                        partial);
  const float* const extra = normalizes ? squares.data() : nullptr;
  if (ranks.PeersTakeRows(h)) {
    ranks.PeerReduceLossyAdd(wire_, partial, extra, shape_.width, config_->sub_norm_eps, residual);
    return absl::OkStatus();
  }
  const auto delta = workspace.delta.As<float>(residual.rows(), h);
  const auto square_sum = workspace.row_sum.As<float>(1, residual.rows());
  TERNION_RETURN_IF_ERROR(
      ranks.ReduceLossy(wire_, partial, extra, delta, normalizes ? square_sum.data() : nullptr));
  if (normalizes) {
    backend.InverseRms(square_sum, shape_.width, config_->sub_norm_eps, square_sum);
    backend.ScaleRows(square_sum, delta);
  }
  backend.Add(delta, residual);
  return absl::OkStatus();
}

absl::Status RowParallelLinear::QuantizeOwnChannels(Step& step, TensorView<float> squares) const {
  auto& [backend, ranks, workspace, x, sums] = step;
  const bool normalizes = !sub_norm_->empty();
  const QuantizedRows input = InputOf(step);
  RowInput how = WholeRow();
  if (normalizes) how.weight = own_weights();
  if (ranks.PeerQuantizeShare(how, shape_.channels, kUnnormalizedFloor, x, squares, input))
    return absl::OkStatus();
  if (normalizes) {
    backend.SumSquares(x, shape_.segment, sums);
    backend.ScaleColumns(x, own_weights(), x);
  }
  TERNION_RETURN_IF_ERROR(KeepTopK(step));
  if (normalizes) backend.RowSums(sums, squares);
  const auto absmax = workspace.row_absmax.As<float>(1, x.rows());
  backend.RowAbsMax(x, absmax);
  backend.QuantizeInt8(x, absmax, kUnnormalizedFloor, input);
  return absl::OkStatus();
}

absl::Status RowParallelLinear::NormalizeWholeRows(Step& step) const {
  auto& [backend, ranks, workspace, x, sums] = step;
  const auto all = workspace.all_segments.As<float>(x.rows(), shape_.width / shape_.segment);
  backend.SumSquares(x, shape_.segment, sums);
  TERNION_RETURN_IF_ERROR(ranks.GatherColumns(sums, segments_, all));
  backend.RmsNorm(x, all, shape_.width, config_->sub_norm_eps, own_weights(), x);
  return absl::OkStatus();
}

absl::Status RowParallelLinear::KeepTopK(Step& step) const {
  if (shape_.keep >= 1.0) return absl::OkStatus();
  const auto threshold = step.workspace.row_statistic.As<float>(1, step.x.rows());
  TERNION_RETURN_IF_ERROR(step.ranks.KthMagnitude(step.x, shape_.channels, kept(), threshold));
  step.backend.ZeroBelow(threshold, step.x);
  return absl::OkStatus();
}

}  // namespace ternion
