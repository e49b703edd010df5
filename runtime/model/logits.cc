#include "runtime/model/logits.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {
namespace {

std::vector<SampleRow> DrawsOf(absl::Span<const LogitsRequest> requests) {
  std::vector<SampleRow> draws;
  for (const LogitsRequest& request : requests) draws.push_back(request.sample.value_or(SampleRow()));
  return draws;
}

bool AnyWhole(absl::Span<const LogitsRequest> requests) {
  return std::any_of(requests.begin(), requests.end(), [](const LogitsRequest& r) { return r.whole; });
}

template <typename T>
std::vector<T> TakeValues(DelayedReads& reads) {
  const std::string bytes = reads.Take();
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Logits>> Logits::Create(const ModelConfig& config, const StageWeights& weights,
                                                       Backend& backend, TensorParallel& ranks,
                                                       int64_t most) {
  auto logits = std::unique_ptr<Logits>(new Logits);
  logits->config_ = &config;
  logits->weights_ = &weights;
  logits->backend_ = &backend;
  logits->ranks_ = &ranks;
  logits->most_ = most;
  std::vector<int64_t> columns;
  for (int r = 0; r < ranks.size(); ++r) {
    columns.push_back(ShardLayer(config.shape, ranks.size(), r).vocab.size());
  }
  const int64_t h = config.shape.hidden;
  const auto allocate = [&](Buffer& buffer, int64_t floats) -> absl::Status {
    TERNION_ASSIGN_OR_RETURN(buffer, backend.Allocate(floats * sizeof(float)));
    return absl::OkStatus();
  };
  TERNION_RETURN_IF_ERROR(allocate(logits->selected_, kRows * h));
  TERNION_RETURN_IF_ERROR(allocate(logits->segments_, kRows * h / std::gcd<int64_t>(32, h)));
  TERNION_RETURN_IF_ERROR(allocate(logits->normed_, kRows * h));
  TERNION_RETURN_IF_ERROR(allocate(logits->shard_, kRows * weights.shard.vocab.size()));
  TERNION_RETURN_IF_ERROR(allocate(logits->drawn_, most));
  TERNION_RETURN_IF_ERROR(allocate(logits->top_ids_, kRows * kMostLogprobs));
  TERNION_RETURN_IF_ERROR(allocate(logits->logprobs_, kRows * (1 + kMostLogprobs)));
  TERNION_ASSIGN_OR_RETURN(logits->draws_, Draws::Create(backend, ranks, std::move(columns), kRows));
  logits->reads_ = MakeDelayedReads(backend);
  return logits;
}

absl::Status Logits::Begin(int64_t tokens, TensorView<const float> x, Requests requests, TakeWhole take) {
  CHECK(static_cast<int64_t>(requests.size()) <= most_, "as many requests as a step may have");
  std::vector<Asked> asked;
  for (size_t first = 0; first < requests.size(); first += kRows) {
    const Requests some = requests.subspan(first, kRows);
    asked.push_back(AskedOf(some));
    TERNION_RETURN_IF_ERROR(BeginSome(tokens, x, some, asked.back(), static_cast<int64_t>(first), take));
  }
  const bool answers = std::any_of(asked.begin(), asked.end(), [](const Asked& a) { return a.answers(); });
  if (answers && ranks_->rank() == 0) begun_.push_back(std::move(asked));
  return absl::OkStatus();
}

absl::Status Logits::BeginSome(int64_t tokens, TensorView<const float> x, Requests requests,
                               const Asked& asked, int64_t first, TakeWhole take) {
  const auto n = static_cast<int64_t>(requests.size());
  const int64_t h = config_->shape.hidden, columns = weights_->shard.vocab.size();
  const Buffer& table = weights_->head.empty() ? weights_->embedding : weights_->head;
  const TensorView<float> normed = normed_.As<float>(n, h), shard = shard_.As<float>(n, columns);
  const TensorView<int32_t> drawn(drawn_.As<int32_t>(1, most_).data() + first, 1, n);
  TERNION_RETURN_IF_ERROR(NormalizeRows(tokens, x, requests, normed));
  backend_->Head(normed, table.As<const BFloat16>(columns, h), shard);

  const bool tells = AnyWhole(requests) || !asked.logprobs.empty();
  const std::vector<LogitChange> changes = ChangesHere(requests);
  TensorView<float> unchanged;
  if (tells) {
    TERNION_ASSIGN_OR_RETURN(unchanged, Unchanged(changes.size()));
  }
  backend_->ChangeLogits(shard, changes, unchanged);
  const bool masked = MaskRows(requests, shard);
  if (!asked.draws.empty()) {
    TERNION_RETURN_IF_ERROR(draws_->Draw(shard, DrawsOf(requests), drawn));
    if (ranks_->rank() == 0) reads_->Start(drawn.data(), drawn.bytes());
  }
  if (!tells) return absl::OkStatus();
  if (masked) {  // made again: memory for what masks take would be idle most of the time
    backend_->Head(normed, table.As<const BFloat16>(columns, h), shard);
  } else {
    backend_->RestoreLogits(unchanged, changes, shard);
  }
  TERNION_ASSIGN_OR_RETURN(const TensorView<const float> logits, draws_->Whole(shard));
  if (ranks_->rank() > 0) return absl::OkStatus();
  if (!asked.logprobs.empty()) StartLogprobs(asked, logits, drawn);
  if (AnyWhole(requests)) TellWhole(requests, first, logits, take);
  return absl::OkStatus();
}

Logits::Asked Logits::AskedOf(Requests requests) {
  Asked asked;
  asked.requests = requests.size();
  for (size_t i = 0; i < requests.size(); ++i) {
    const LogitsRequest& request = requests[i];
    if (request.sample.has_value()) asked.draws.push_back(i);
    if (request.logprobs < 0) continue;
    asked.logprobs.push_back({static_cast<int32_t>(i), request.target});
    asked.likeliest.push_back(request.logprobs);
    asked.most_likeliest = std::max(asked.most_likeliest, request.logprobs);
  }
  return asked;
}

absl::Status Logits::NormalizeRows(int64_t tokens, TensorView<const float> x, Requests requests,
                                   TensorView<float> normed) {
  const int64_t h = config_->shape.hidden;
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
    const auto sums = segments_.As<float>(count, h / segment);
    backend_->SumSquares(selected, segment, sums);
    backend_->RmsNorm(selected, sums, h, config_->rms_norm_eps, weights_->final_norm.As<float>(1, h), mine);
    if (!shares) return absl::OkStatus();
  }
  return ranks_->GatherRows(tokens, rows, mine, normed);
}

std::vector<LogitChange> Logits::ChangesHere(Requests requests) const {
  const Range here = weights_->shard.vocab;
  std::vector<LogitChange> changes;
  for (size_t i = 0; i < requests.size(); ++i) {
    for (LogitChange change : requests[i].changes) {
      if (change.column < here.begin || change.column >= here.end) continue;
      change.row = static_cast<int32_t>(i);
      change.column -= static_cast<int32_t>(here.begin);
      changes.push_back(change);
    }
  }
  return changes;
}

// Memory for the logits that `changes` find.
absl::StatusOr<TensorView<float>> Logits::Unchanged(size_t changes) {
  if (unchanged_.bytes() < changes * sizeof(float)) {
    TERNION_ASSIGN_OR_RETURN(unchanged_, backend_->Allocate(2 * changes * sizeof(float)));
  }
  return unchanged_.As<float>(1, static_cast<int64_t>(changes));
}

bool Logits::MaskRows(Requests requests, TensorView<float> shard) {
  const Range here = weights_->shard.vocab;
  std::vector<int32_t> rows;
  std::vector<uint32_t> words;
  for (size_t i = 0; i < requests.size(); ++i) {
    const absl::Span<const uint32_t> mask = requests[i].mask;
    if (mask.empty()) continue;
    CHECK(static_cast<int64_t>(mask.size()) == MaskWords(config_->shape.vocab), "a mask of the vocabulary");
    rows.push_back(static_cast<int32_t>(i));
    const auto own = mask.subspan(here.begin / 32, MaskWords(here.size()));
    words.insert(words.end(), own.begin(), own.end());
  }
  if (rows.empty()) return false;
  backend_->MaskLogits(shard, rows, words);
  return true;
}

void Logits::StartLogprobs(const Asked& asked, TensorView<const float> logits,
                           TensorView<const int32_t> drawn) {
  const auto rows = static_cast<int64_t>(asked.logprobs.size());
  const auto top_ids = top_ids_.As<int32_t>(rows, asked.most_likeliest);
  const auto logprobs = logprobs_.As<float>(rows, 1 + asked.most_likeliest);
  backend_->Logprobs(logits, asked.logprobs, drawn, top_ids, logprobs);
  reads_->Start(top_ids.data(), top_ids.bytes());
  reads_->Start(logprobs.data(), logprobs.bytes());
}

void Logits::TellWhole(Requests requests, int64_t first, TensorView<const float> logits, TakeWhole take) {
  const int64_t vocab = logits.cols();
  host_rows_.resize(logits.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (!requests[i].whole) continue;
    backend_->CopyToHost(host_rows_.data() + row * vocab, logits.row(row), vocab * sizeof(float));
  }
  backend_->Synchronize();
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (requests[i].whole) take(first + row, absl::MakeConstSpan(host_rows_.data() + row * vocab, vocab));
  }
}

std::vector<LogitsAnswer> Logits::Take() {
  CHECK(!begun_.empty(), "answers were asked for");
  size_t count = 0;
  for (const Asked& asked : begun_.front()) count += asked.requests;
  std::vector<LogitsAnswer> answers(count);
  LogitsAnswer* next = answers.data();
  for (const Asked& asked : begun_.front()) {
    TakeSome(asked, next);
    next += asked.requests;
  }
  begun_.pop_front();
  return answers;
}

void Logits::TakeSome(const Asked& asked, LogitsAnswer* answers) {
  if (!asked.draws.empty()) {
    const std::vector<int32_t> ids = TakeValues<int32_t>(*reads_);
    for (const size_t i : asked.draws) answers[i].id = ids[i];
  }
  if (asked.logprobs.empty()) return;
  const std::vector<int32_t> top_ids = TakeValues<int32_t>(*reads_);
  const std::vector<float> logprobs = TakeValues<float>(*reads_);
  for (size_t i = 0; i < asked.logprobs.size(); ++i) {
    const float* const values = logprobs.data() + i * (1 + asked.most_likeliest);
    TokenLogprobs& told = answers[asked.logprobs[i].row].logprobs.emplace();
    told.logprob = values[0];
    for (int32_t k = 0; k < asked.likeliest[i]; ++k) {
      told.top.emplace_back(top_ids[i * asked.most_likeliest + k], values[1 + k]);
    }
  }
}

}  // namespace ternion
