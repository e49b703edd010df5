#include "runtime/model/stage.h"

#include <utility>

#include "kernels/status.h"

namespace ternion {
absl::StatusOr<std::unique_ptr<Stage>> Stage::Create(const ModelConfig& config, const ProcessGrid& grid,
                                                     WireFormat wire, const StageWeights& weights,
                                                     Backend& backend, TensorParallel& ranks,
                                                     PipelineLink* link, WireBytes& counters, Limits limits) {
  auto stage = std::unique_ptr<Stage>(new Stage);
  stage->config_ = &config;
  stage->grid_ = grid;
  stage->weights_ = &weights;
  stage->backend_ = &backend;
  stage->ranks_ = &ranks;
  stage->link_ = link;
  stage->counters_ = &counters;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights* const next = i + 1 < weights.layers.size() ? &weights.layers[i + 1] : nullptr;
    stage->layers_.emplace_back(config, weights.shard, grid.tp, wire, weights.layers[i], next);
  }
  for (const FloatLayerWeights& layer : weights.float_layers) {
    stage->float_layers_.emplace_back(config, weights.shard, wire, layer);
  }
  TERNION_ASSIGN_OR_RETURN(stage->workspace_,
                           Workspace::Create(backend, config, weights.shard, limits.max_batch_tokens));
  const std::vector<float> table = RotaryTable(config.rope, limits.max_positions, config.shape.head_dim);
  TERNION_ASSIGN_OR_RETURN(stage->cos_sin_, backend.Allocate(table.size() * sizeof(float)));
  backend.CopyFromHost(stage->cos_sin_.data(), table.data(), table.size() * sizeof(float));
  if (!grid.last_stage()) return stage;

  TERNION_ASSIGN_OR_RETURN(stage->logits_,
                           Logits::Create(config, weights, backend, ranks, limits.max_batch_tokens));
  return stage;
}

absl::Status Stage::Forward(absl::Span<const int32_t> ids, absl::Span<const KvSlice> slices,
                            const KvCache& cache) {
  const auto tokens = static_cast<int64_t>(ids.size());
  const int64_t h = config_->shape.hidden;
  const auto x = workspace_.residual.As<float>(ranks_->OwnedRows(tokens).size(), h);
  TERNION_RETURN_IF_ERROR(MakeInput(ids, x));
  TERNION_RETURN_IF_ERROR(AllLayers(slices, cache, tokens, x));
  if (grid_.last_stage()) return absl::OkStatus();
  const TraceSpan span(trace_, "send");
  return link_->Send(tokens, x);
}

absl::Status Stage::MakeInput(absl::Span<const int32_t> ids, TensorView<float> x) {
  const TraceSpan span(trace_, grid_.first_stage() ? "embed" : "receive");
  if (grid_.first_stage()) {
    const auto table =
        weights_->embedding.As<const BFloat16>(weights_->shard.vocab.size(), config_->shape.hidden);
    const TensorView<const int32_t> drawn =
        logits_ == nullptr ? TensorView<const int32_t>() : logits_->drawn();
    return ranks_->EmbedRows(table, config_->shape.vocab, ids, drawn, x);
  }
  return link_->Recv(static_cast<int64_t>(ids.size()), x);
}

absl::Status Stage::AllLayers(absl::Span<const KvSlice> slices, const KvCache& cache, int64_t tokens,
                              TensorView<float> x) {
  const TraceSpan span(trace_, "layers");
  const KvSlices uploaded = backend_->UploadSlices(slices);
  if (tokens <= kReplayedTokens && !observer_) return ReplayLayers(uploaded, cache, tokens, x);
  return RunLayers(uploaded, cache, tokens, x);
}

absl::Status Stage::OpenTable(GatherStrings gather) {
  const int64_t shard = weights_->shard.vocab.size();
  return ranks_->OpenTable(weights_->embedding.As<const BFloat16>(shard, config_->shape.hidden),
                           config_->shape.vocab, gather);
}

absl::Status Stage::RunLayers(const KvSlices& slices, const KvCache& cache, int64_t tokens,
                              TensorView<float> x) {
  if (observer_) observer_(weights_->layer_range.begin, x);
  bool input_made = false;
  for (size_t i = 0; i < layers_.size() + float_layers_.size(); ++i) {
    TERNION_RETURN_IF_ERROR(RunLayer(i, slices, cache.layer(i), tokens, x, input_made));
    // The next stage may be waiting for the step before this one.
    if (link_ != nullptr) TERNION_RETURN_IF_ERROR(link_->Progress().status());
    if (observer_) observer_(weights_->layer_range.begin + static_cast<int64_t>(i) + 1, x);
  }
  return absl::OkStatus();
}

absl::Status Stage::RunLayer(size_t i, const KvSlices& slices, const KvLayer& cache, int64_t tokens,
                             TensorView<float> x, bool& input_made) {
  const int64_t positions = static_cast<int64_t>(cos_sin_.bytes() / sizeof(float)) / config_->shape.head_dim;
  const auto cos_sin = cos_sin_.As<const float>(positions, config_->shape.head_dim);
  if (config_->floats()) {
    return float_layers_[i].Forward(*backend_, *ranks_, workspace_, cache, cos_sin, slices, tokens, x);
  }
  TERNION_ASSIGN_OR_RETURN(input_made, layers_[i].Forward(*backend_, *ranks_, workspace_, cache, cos_sin,
                                                          slices, tokens, input_made, x));
  return absl::OkStatus();
}

absl::Status Stage::ReplayLayers(const KvSlices& slices, const KvCache& cache, int64_t tokens,
                                 TensorView<float> x) {
  const uint64_t key = slices.shape * (kReplayedTokens + 1) + static_cast<uint64_t>(tokens);
  const WireCount before = counters_->Read();
  TERNION_ASSIGN_OR_RETURN(const bool ran,
                           backend_->Replay(key, [&] { return RunLayers(slices, cache, tokens, x); }));
  if (ran) {
    replayed_bytes_[key] = counters_->Read() - before;
  } else {
    counters_->Add(replayed_bytes_[key]);
  }
  return absl::OkStatus();
}

absl::Status Stage::BeginLogits(int64_t tokens, absl::Span<const LogitsRequest> requests,
                                Logits::TakeWhole take) {
  const TraceSpan span(trace_, "head");
  const int64_t owned = ranks_->OwnedRows(tokens).size();
  return logits_->Begin(tokens, workspace_.residual.As<float>(owned, config_->shape.hidden), requests, take);
}

}  // namespace ternion
