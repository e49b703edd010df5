#include "runtime/model/parallel_linear.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/status.h"

namespace ternion {
namespace {

constexpr int kNormSegment = 32;
// Below this an int8 row is taken for zeros (docs/numerics.md, Q8).
constexpr float kInt8Floor = 1e-5f;
// The same for rows that are not normalized yet, which may be of any size: only true zeros.
constexpr float kUnnormalizedFloor = 1e-30f;

}  // namespace

absl::StatusOr<QuantizedRows> ColumnParallelInput::Forward(Backend& backend, TensorParallel& ranks,
                                                           Workspace& workspace, int64_t tokens,
                                                           TensorView<const float> x) const {
  const int64_t h = x.cols();
  const int64_t owned = x.rows();
  const int segment = std::gcd<int64_t>(kNormSegment, h);
  const auto sums = workspace.all_segments.As<float>(owned, h / segment);
  const auto normed = workspace.normed.As<float>(owned, h);
  backend.SumSquares(x, segment, sums);
  backend.RmsNorm(x, sums, h, config_->rms_norm_eps, norm_->As<float>(1, h), normed);

  const QuantizedRows mine{workspace.own_codes.As<int8_t>(owned, h),
                           workspace.own_scales.As<float>(1, owned)};
  const bool int4 = config_->input == InputQuantization::kInt4;
  if (int4) {
    backend.QuantizeInt4(normed, mine);
  } else {
    const auto absmax = workspace.row_absmax.As<float>(1, owned);
    backend.RowAbsMax(normed, absmax);
    backend.QuantizeInt8(normed, absmax, kInt8Floor, mine);
  }
  if (!ranks.sequence_parallel(tokens)) return mine;
  const QuantizedRows all{workspace.codes.As<int8_t>(tokens, h), workspace.scales.As<float>(1, tokens)};
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
                                     const TernaryLinear& linear, const Buffer& sub_norm)
    : eps_(config.rms_norm_eps),
      shape_(std::move(shape)),
      wire_(wire),
      linear_(&linear),
      sub_norm_(&sub_norm) {
  for (int64_t channels : shape_.channels) segments_.push_back(channels / shape_.segment);
}

absl::Status RowParallelLinear::Forward(Backend& backend, TensorParallel& ranks, Workspace& workspace,
                                        TensorView<float> x, TensorView<float> y) const {
  Step step{backend, ranks, workspace, x, workspace.segments.As<float>(x.rows(), x.cols() / shape_.segment)};
  // One rank sends nothing, so its wire loses nothing.
  const bool exact = wire_ == WireFormat::kExact || ranks.size() == 1;
  return exact ? ForwardExact(step, y) : ForwardLossy(step, y);
}

absl::Status RowParallelLinear::ForwardExact(Step& step, TensorView<float> y) const {
  auto& [backend, ranks, workspace, x, sums] = step;
  const int64_t tokens = x.rows();
  const int64_t h = y.cols();
  if (!sub_norm_->empty()) TERNION_RETURN_IF_ERROR(NormalizeWholeRows(step));
  TERNION_RETURN_IF_ERROR(KeepTopK(step));
  const auto absmax = workspace.row_absmax.As<float>(1, tokens);
  backend.RowAbsMax(x, absmax);
  TERNION_RETURN_IF_ERROR(ranks.MaxOverRanks(absmax));
  const QuantizedRows input{workspace.codes.As<int8_t>(tokens, x.cols()),
                            workspace.scales.As<float>(1, tokens)};
  backend.QuantizeInt8(x, absmax, kInt8Floor, input);

  const auto partial = workspace.sums.As<int32_t>(tokens, h);
  const auto reduced = workspace.reduced.As<int32_t>(y.rows(), h);
  backend.TernaryMatmul(linear_->packed, input.codes, partial);
  TERNION_RETURN_IF_ERROR(ranks.ReduceExact(partial, reduced));
  const Range owned = ranks.OwnedRows(tokens);
  backend.Dequantize(reduced, input.Rows(owned.begin, owned.end).scales, linear_->scale.As<float>(1, h), y);
  return absl::OkStatus();
}

// Codes do not change when a row is multiplied by a positive number, so the row is quantized before it is
// divided by its rms, which is only known when all ranks' squares are summed: they travel with the rows.
// Every rank takes the absmax of its own channels, finer than one for the whole row.
absl::Status RowParallelLinear::ForwardLossy(Step& step, TensorView<float> y) const {
  auto& [backend, ranks, workspace, x, sums] = step;
  const int64_t tokens = x.rows();
  const int64_t h = y.cols();
  const bool normalizes = !sub_norm_->empty();
  const auto squares = workspace.row_statistic.As<float>(1, tokens);
  if (normalizes) {
    backend.SumSquares(x, shape_.segment, sums);
    backend.ScaleColumns(x, sub_norm_->As<float>(1, x.cols()), x);
  }
  TERNION_RETURN_IF_ERROR(KeepTopK(step));
  if (normalizes) backend.RowSums(sums, squares);
  const auto absmax = workspace.row_absmax.As<float>(1, tokens);
  backend.RowAbsMax(x, absmax);
  const QuantizedRows input{workspace.codes.As<int8_t>(tokens, x.cols()),
                            workspace.scales.As<float>(1, tokens)};
  backend.QuantizeInt8(x, absmax, kUnnormalizedFloor, input);

  const auto exact = workspace.sums.As<int32_t>(tokens, h);
  const auto partial = workspace.partial.As<float>(tokens, h);
  backend.TernaryMatmul(linear_->packed, input.codes, exact);
  backend.Dequantize(exact, input.scales, linear_->scale.As<float>(1, h), partial);
  const auto square_sum = workspace.row_sum.As<float>(1, y.rows());
  TERNION_RETURN_IF_ERROR(ranks.ReduceLossy(wire_, partial, normalizes ? squares.data() : nullptr, y,
                                            normalizes ? square_sum.data() : nullptr));
  if (normalizes) {
    backend.InverseRms(square_sum, shape_.width, eps_, square_sum);
    backend.ScaleRows(square_sum, y);
  }
  return absl::OkStatus();
}

absl::Status RowParallelLinear::NormalizeWholeRows(Step& step) const {
  auto& [backend, ranks, workspace, x, sums] = step;
  const auto all = workspace.all_segments.As<float>(x.rows(), shape_.width / shape_.segment);
  backend.SumSquares(x, shape_.segment, sums);
  TERNION_RETURN_IF_ERROR(ranks.GatherColumns(sums, segments_, all));
  backend.RmsNorm(x, all, shape_.width, eps_, sub_norm_->As<float>(1, x.cols()), x);
  return absl::OkStatus();
}

absl::Status RowParallelLinear::KeepTopK(Step& step) const {
  if (shape_.keep >= 1.0) return absl::OkStatus();
  const auto k = static_cast<int64_t>(std::floor(static_cast<double>(shape_.width) * shape_.keep + 0.5));
  const auto threshold = step.workspace.row_statistic.As<float>(1, step.x.rows());
  TERNION_RETURN_IF_ERROR(step.ranks.KthMagnitude(step.x, shape_.channels, k, threshold));
  step.backend.ZeroBelow(threshold, step.x);
  return absl::OkStatus();
}

}  // namespace ternion
