#include "runtime/model/stage.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/status.h"

namespace ternion {
namespace {

// Cosines and sines of position * theta^(-i / half): the angle in float32 as the reference has it, its
// functions in double.                                              [positions, head_dim]: half cosines, half
// sines
std::vector<float> RotaryTable(int64_t positions, int head_dim, float theta) {
  const int half = head_dim / 2;
  std::vector<float> table(positions * head_dim);
  for (int i = 0; i < half; ++i) {
    const auto frequency =
        static_cast<float>(std::pow(static_cast<double>(theta), -static_cast<double>(i) / half));
    for (int64_t p = 0; p < positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      table[p * head_dim + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      table[p * head_dim + half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
  return table;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Stage>> Stage::Create(const ModelConfig& config, const ProcessGrid& grid,
                                                     WireFormat wire, const StageWeights& weights,
                                                     Backend& backend, TensorParallel& ranks,
                                                     PipelineLink* link, Limits limits) {
  auto stage = std::unique_ptr<Stage>(new Stage);
  stage->config_ = &config;
  stage->grid_ = grid;
  stage->weights_ = &weights;
  stage->backend_ = &backend;
  stage->ranks_ = &ranks;
  stage->link_ = link;
  for (const LayerWeights& layer : weights.layers) {
    stage->layers_.emplace_back(config, weights.shard, grid.tp, wire, layer);
  }
  TERNION_ASSIGN_OR_RETURN(stage->workspace_,
                           Workspace::Create(backend, config, weights.shard, limits.max_batch_tokens));
  const std::vector<float> table =
      RotaryTable(limits.max_positions, config.shape.head_dim, config.rope_theta);
  TERNION_ASSIGN_OR_RETURN(stage->cos_sin_, backend.Allocate(table.size() * sizeof(float)));
  backend.CopyFromHost(stage->cos_sin_.data(), table.data(), table.size() * sizeof(float));
  if (!grid.last_stage()) return stage;

  const int64_t h = config.shape.hidden;
  for (int r = 0; r < grid.tp; ++r) {
    stage->vocab_columns_.push_back(ShardLayer(config.shape, grid.tp, r).vocab.size());
  }
  const int64_t shard = weights.shard.vocab.size();
  TERNION_ASSIGN_OR_RETURN(stage->all_residual_,
                           backend.Allocate(limits.max_batch_tokens * h * sizeof(float)));
  TERNION_ASSIGN_OR_RETURN(stage->selected_, backend.Allocate(kHeadRows * h * sizeof(float)));
  TERNION_ASSIGN_OR_RETURN(stage->logits_, backend.Allocate(kHeadRows * shard * sizeof(float)));
  TERNION_ASSIGN_OR_RETURN(stage->all_logits_,
                           backend.Allocate(kHeadRows * config.shape.vocab * sizeof(float)));
  stage->host_logits_.resize(kHeadRows * config.shape.vocab);
  return stage;
}

absl::Status Stage::Forward(absl::Span<const int32_t> ids, absl::Span<const KvSlice> slices,
                            const KvCache& cache) {
  const auto tokens = static_cast<int64_t>(ids.size());
  const int64_t h = config_->shape.hidden;
  const auto x = workspace_.residual.As<float>(ranks_->OwnedRows(tokens).size(), h);
  if (grid_.first_stage()) {
    const auto table = weights_->embedding.As<const BFloat16>(weights_->shard.vocab.size(), h);
    TERNION_RETURN_IF_ERROR(ranks_->EmbedRows(table, config_->shape.vocab, ids, x));
  } else {
    TERNION_RETURN_IF_ERROR(link_->Recv(tokens, x));
  }
  if (observer_) observer_(weights_->layer_range.begin, x);
  const int64_t positions = static_cast<int64_t>(cos_sin_.bytes() / sizeof(float)) / config_->shape.head_dim;
  const auto cos_sin = cos_sin_.As<const float>(positions, config_->shape.head_dim);
  for (size_t i = 0; i < layers_.size(); ++i) {
    TERNION_RETURN_IF_ERROR(
        layers_[i].Forward(*backend_, *ranks_, workspace_, cache.layer(i), cos_sin, slices, tokens, x));
    if (observer_) observer_(weights_->layer_range.begin + static_cast<int64_t>(i) + 1, x);
  }
  return grid_.last_stage() ? absl::OkStatus() : link_->Send(tokens, x);
}

absl::Status Stage::Logits(int64_t tokens, absl::Span<const int32_t> rows, const LogitsRow& take) {
  const int64_t h = config_->shape.hidden;
  const auto x = workspace_.residual.As<float>(ranks_->OwnedRows(tokens).size(), h);
  const int segment = std::gcd<int64_t>(32, h);
  const auto sums = workspace_.all_segments.As<float>(x.rows(), h / segment);
  const auto normed = workspace_.normed.As<float>(x.rows(), h);
  backend_->SumSquares(x, segment, sums);
  backend_->RmsNorm(x, sums, h, config_->rms_norm_eps, weights_->final_norm.As<float>(1, h), normed);
  const auto all = all_residual_.As<float>(tokens, h);
  TERNION_RETURN_IF_ERROR(ranks_->GatherRows(normed, all));
  const auto count = static_cast<int64_t>(rows.size());
  for (int64_t first = 0; first < count; first += kHeadRows) {
    const auto some = rows.subspan(first, std::min(kHeadRows, count - first));
    const auto selected = selected_.As<float>(static_cast<int64_t>(some.size()), h);
    backend_->SelectRows(all, some, selected);
    TERNION_RETURN_IF_ERROR(HeadRows(selected, first, take));
  }
  return absl::OkStatus();
}

absl::Status Stage::HeadRows(TensorView<const float> selected, int64_t first, const LogitsRow& take) {
  const int64_t rows = selected.rows();
  const int64_t shard = weights_->shard.vocab.size();
  const int64_t vocab = config_->shape.vocab;
  const Buffer& table = weights_->head.empty() ? weights_->embedding : weights_->head;
  const auto logits = logits_.As<float>(rows, shard);
  const auto all = all_logits_.As<float>(rows, vocab);
  backend_->Head(selected, table.As<const BFloat16>(shard, config_->shape.hidden), logits);
  TERNION_RETURN_IF_ERROR(ranks_->GatherColumns(logits, vocab_columns_, all));
  if (ranks_->rank() != 0) return absl::OkStatus();
  backend_->CopyToHost(host_logits_.data(), all.data(), rows * vocab * sizeof(float));
  backend_->Synchronize();
  for (int64_t i = 0; i < rows; ++i) {
    take(first + i, absl::MakeConstSpan(host_logits_.data() + i * vocab, vocab));
  }
  return absl::OkStatus();
}

}  // namespace ternion
