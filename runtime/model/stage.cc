#include "runtime/model/stage.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
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
  TERNION_ASSIGN_OR_RETURN(stage->selected_, backend.Allocate(kHeadRows * h * sizeof(float)));
  TERNION_ASSIGN_OR_RETURN(stage->normed_, backend.Allocate(kHeadRows * h * sizeof(float)));
  TERNION_ASSIGN_OR_RETURN(stage->logits_, backend.Allocate(kHeadRows * shard * sizeof(float)));
  if (grid.tp > 1) {
    TERNION_ASSIGN_OR_RETURN(stage->all_logits_,
                             backend.Allocate(kHeadRows * config.shape.vocab * sizeof(float)));
  }
  TERNION_ASSIGN_OR_RETURN(stage->drawn_, backend.Allocate(limits.max_batch_tokens * sizeof(int32_t)));
  stage->reads_ = MakeDelayedReads(backend);
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
    const auto drawn = drawn_.As<const int32_t>(1, static_cast<int64_t>(drawn_.bytes() / sizeof(int32_t)));
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
  const int64_t positions = static_cast<int64_t>(cos_sin_.bytes() / sizeof(float)) / config_->shape.head_dim;
  const auto cos_sin = cos_sin_.As<const float>(positions, config_->shape.head_dim);
  bool input_made = false;
  for (size_t i = 0; i < layers_.size(); ++i) {
    TERNION_ASSIGN_OR_RETURN(input_made, layers_[i].Forward(*backend_, *ranks_, workspace_, cache.layer(i),
                                                            cos_sin, slices, tokens, input_made, x));
    // The next stage may be waiting for the step before this one.
    if (link_ != nullptr) TERNION_RETURN_IF_ERROR(link_->Progress().status());
    if (observer_) observer_(weights_->layer_range.begin + static_cast<int64_t>(i) + 1, x);
  }
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

absl::Status Stage::Logits(int64_t tokens, absl::Span<const LogitsRequest> requests, const TakeLogits& take) {
  return MakeLogits(
      tokens, requests,
      [&](absl::Span<const LogitsRequest> some, int64_t first, TensorView<const float> logits,
          TensorView<const int32_t> drawn) { AnswerRequests(some, first, logits, drawn, take); });
}

absl::Status Stage::Draw(int64_t tokens, absl::Span<const LogitsRequest> requests) {
  return MakeLogits(tokens, requests,
                    [&](absl::Span<const LogitsRequest>, int64_t, TensorView<const float>,
                        TensorView<const int32_t> drawn) { reads_->Start(drawn.data(), drawn.bytes()); });
}

std::vector<int32_t> Stage::TakeDrawn(int64_t requests) {
  std::vector<int32_t> ids(requests);
  for (int64_t first = 0; first < requests; first += kHeadRows) {
    const std::string bytes = reads_->Take();
    std::memcpy(ids.data() + first, bytes.data(), bytes.size());
  }
  return ids;
}

absl::Status Stage::MakeLogits(int64_t tokens, absl::Span<const LogitsRequest> requests, UseLogits use) {
  const TraceSpan span(trace_, "head");
  const int64_t h = config_->shape.hidden;
  const int64_t shard = weights_->shard.vocab.size();
  const Buffer& table = weights_->head.empty() ? weights_->embedding : weights_->head;
  const auto count = static_cast<int64_t>(requests.size());
  for (int64_t first = 0; first < count; first += kHeadRows) {
    const auto some = requests.subspan(first, std::min(kHeadRows, count - first));
    const auto n = static_cast<int64_t>(some.size());
    const auto logits = logits_.As<float>(n, shard);
    const auto normed = normed_.As<float>(n, h);
    TERNION_RETURN_IF_ERROR(NormalizeRows(tokens, some, normed));
    backend_->Head(normed, table.As<const BFloat16>(shard, h), logits);
    const auto drawn = TensorView<int32_t>(drawn_.As<int32_t>(1, first + n).data() + first, 1, n);
    TensorView<float> all_logits = logits;
    if (ranks_->size() > 1) {
      all_logits = all_logits_.As<float>(n, config_->shape.vocab);
      TERNION_RETURN_IF_ERROR(ranks_->GatherLogits(logits, vocab_columns_, all_logits));
    }
    if (ranks_->rank() == 0 || TakesDrawn()) DrawIds(some, all_logits, drawn);
    if (ranks_->rank() == 0) use(some, first, all_logits, drawn);
  }
  return absl::OkStatus();
}

absl::Status Stage::NormalizeRows(int64_t tokens, absl::Span<const LogitsRequest> requests,
                                  TensorView<float> normed) {
  const int64_t h = config_->shape.hidden;
  const auto x = workspace_.residual.As<float>(ranks_->OwnedRows(tokens).size(), h);
  std::vector<int32_t> rows;
  for (const LogitsRequest& request : requests) rows.push_back(request.row);
  const std::vector<int32_t> own = ranks_->OwnedOf(tokens, rows);
  const auto count = static_cast<int64_t>(own.size());
  TensorView<float> mine = selected_.As<float>(count, h);
  if (count > 0) {
    TensorView<const float> selected = mine;
    if (own.back() - own.front() == count - 1) {  // neighbours
      selected = x.Rows(own.front(), own.back() + 1);
    } else {
      backend_->SelectRows(x, own, mine);
    }
    const bool shares = ranks_->sequence_parallel(tokens);
    if (!shares) mine = normed;
    const int segment = std::gcd<int64_t>(32, h);
    const auto sums = workspace_.all_segments.As<float>(count, h / segment);
    backend_->SumSquares(selected, segment, sums);
    backend_->RmsNorm(selected, sums, h, config_->rms_norm_eps, weights_->final_norm.As<float>(1, h), mine);
    if (!shares) return absl::OkStatus();
  }
  return ranks_->GatherRows(tokens, rows, mine, normed);
}

void Stage::DrawIds(absl::Span<const LogitsRequest> requests, TensorView<const float> logits,
                    TensorView<int32_t> drawn) {
  std::vector<SampleRow> draws;
  for (const LogitsRequest& request : requests) draws.push_back(request.sample.value_or(SampleRow()));
  if (std::all_of(draws.begin(), draws.end(), [](const SampleRow& d) { return d.takes_largest(); })) {
    backend_->ArgMax(logits, drawn);
  } else {
    backend_->Sample(logits, draws, drawn);
  }
}

void Stage::AnswerRequests(absl::Span<const LogitsRequest> requests, int64_t first,
                           TensorView<const float> logits, TensorView<const int32_t> drawn,
                           const TakeLogits& take) {
  const int64_t vocab = logits.cols();
  const bool any_whole =
      std::any_of(requests.begin(), requests.end(), [](const LogitsRequest& r) { return r.whole; });
  std::vector<int32_t> ids(requests.size(), -1);
  backend_->CopyToHost(ids.data(), drawn.data(), drawn.bytes());
  if (any_whole) {
    host_logits_.resize(logits.size());
    backend_->CopyToHost(host_logits_.data(), logits.data(), logits.bytes());
  }
  backend_->Synchronize();
  for (size_t i = 0; i < requests.size(); ++i) {
    const float* row = host_logits_.data() + static_cast<int64_t>(i) * vocab;
    take(first + static_cast<int64_t>(i),
         requests[i].whole ? absl::MakeConstSpan(row, vocab) : absl::Span<const float>(),
         requests[i].sample ? ids[i] : -1);
  }
}

}  // namespace ternion
