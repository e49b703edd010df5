#include "runtime/model/draws.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/status.h"

namespace ternion {
namespace {

// What the peers of a device take at once are 16 bytes: two candidates, two sums.
constexpr int64_t kPair = 2;
int64_t Even(int64_t n) { return (n + kPair - 1) / kPair * kPair; }

// Rows of 8-byte values, as they travel.
template <typename T>
TensorView<float> AsFloats(TensorView<T> values) {
  static_assert(sizeof(T) == 2 * sizeof(float));
  return {reinterpret_cast<float*>(values.data()), values.rows(), 2 * values.cols()};
}

int64_t Sum(const std::vector<int64_t>& counts, int64_t first) {
  return std::accumulate(counts.begin(), counts.begin() + first, int64_t{0});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Draws>> Draws::Create(Backend& backend, TensorParallel& ranks,
                                                     std::vector<int64_t> columns, int64_t most_rows) {
  auto draws = std::unique_ptr<Draws>(new Draws);
  draws->backend_ = &backend;
  draws->ranks_ = &ranks;
  for (const int64_t count : columns) {
    draws->segments_.push_back(Even((count + kVocabSegment - 1) / kVocabSegment));
  }
  draws->vocab_ = Sum(columns, ranks.size());
  draws->first_ = Sum(columns, ranks.rank());
  draws->own_ = Sum(draws->segments_, ranks.rank());
  draws->most_list_ = std::min(kMostListed, *std::min_element(columns.begin(), columns.end()));
  draws->columns_ = std::move(columns);
  if (ranks.size() == 1) return draws;
  const auto allocate = [&](Buffer& buffer, int64_t row_bytes) -> absl::Status {
    TERNION_ASSIGN_OR_RETURN(buffer, backend.Allocate(most_rows * row_bytes));
    return absl::OkStatus();
  };
  constexpr int64_t kBytes = sizeof(Candidate);
  TERNION_RETURN_IF_ERROR(allocate(draws->whole_, draws->vocab_ * static_cast<int64_t>(sizeof(float))));
  TERNION_RETURN_IF_ERROR(allocate(draws->list_, kMostListed * kBytes));
  TERNION_RETURN_IF_ERROR(allocate(draws->lists_, ranks.size() * kMostListed * kBytes));
  TERNION_RETURN_IF_ERROR(allocate(draws->found_, ranks.size() * kPair * kBytes));
  TERNION_RETURN_IF_ERROR(allocate(draws->sums_, draws->segments_[ranks.rank()] * kBytes));
  TERNION_RETURN_IF_ERROR(allocate(draws->all_sums_, Sum(draws->segments_, ranks.size()) * kBytes));
  return draws;
}

absl::Status Draws::Draw(TensorView<const float> shard, absl::Span<const SampleRow> rows_host,
                         TensorView<int32_t> ids) {
  const auto needs = [&](size_t t, Needs what) { return NeedsOf(rows_host[t]) == what; };
  std::vector<SampleRow> listed(rows_host.size()), weighed(rows_host.size());  // others take the largest
  size_t whole = 0;
  bool weighs = false;
  for (size_t t = 0; t < rows_host.size(); ++t) {
    if (needs(t, Needs::kList)) listed[t] = rows_host[t];
    if (needs(t, Needs::kWeights)) weighed[t] = rows_host[t];
    weighs = weighs || needs(t, Needs::kWeights);
    whole += needs(t, Needs::kRow) ? 1 : 0;
  }
  if (whole < rows_host.size()) {
    TERNION_ASSIGN_OR_RETURN(const TensorView<const Candidate> lists, GatherLists(shard, listed));
    backend_->SampleListed(lists, listed, ids);
    if (weighs) TERNION_RETURN_IF_ERROR(DrawSpread(shard, lists, weighed, ids));
  }
  // Neighbours together.
  for (size_t begin = 0, end = 0; whole > 0 && begin < rows_host.size(); begin = end + 1) {
    for (end = begin; end < rows_host.size() && needs(end, Needs::kRow);) ++end;
    if (end > begin) TERNION_RETURN_IF_ERROR(DrawFromWhole(shard, rows_host, begin, end, ids));
  }
  return absl::OkStatus();
}

Draws::Needs Draws::NeedsOf(const SampleRow& how) const {
  if (ranks_->size() == 1 || most_list_ == 0) return Needs::kRow;
  if (how.takes_largest()) return Needs::kList;
  if (how.top_k > 0) return how.top_k <= most_list_ ? Needs::kList : Needs::kRow;
  return how.top_p < 1.0f ? Needs::kRow : Needs::kWeights;
}

// The lists that `rows_host` are drawn from, of all ranks.
absl::StatusOr<TensorView<const Candidate>> Draws::GatherLists(TensorView<const float> shard,
                                                               absl::Span<const SampleRow> rows_host) {
  std::vector<int32_t> counts;
  for (const SampleRow& how : rows_host) counts.push_back(how.takes_largest() ? 1 : how.top_k);
  const int64_t width = Even(*std::max_element(counts.begin(), counts.end()));
  const auto list = list_.As<Candidate>(shard.rows(), width);
  backend_->Shortlist(shard, first_, counts, list);
  return Gather(list, lists_);
}

absl::Status Draws::DrawSpread(TensorView<const float> shard, TensorView<const Candidate> lists,
                               absl::Span<const SampleRow> rows_host, TensorView<int32_t> ids) {
  const int64_t rows = shard.rows();
  const auto sums = sums_.As<uint64_t>(rows, segments_[ranks_->rank()]);
  const auto all_sums = all_sums_.As<uint64_t>(rows, Sum(segments_, ranks_->size()));
  backend_->WeighSegments(shard, lists, rows_host, sums);
  std::vector<int64_t> columns;
  for (const int64_t segments : segments_) columns.push_back(2 * segments);
  TERNION_RETURN_IF_ERROR(ranks_->GatherLogits(AsFloats(sums), columns, AsFloats(all_sums)));
  const auto found = list_.As<Candidate>(rows, kPair);
  backend_->DrawSpread(shard, first_, lists, all_sums, own_, rows_host, ids, found);
  TERNION_ASSIGN_OR_RETURN(const TensorView<const Candidate> all_found, Gather(found, found_));
  backend_->SampleListed(all_found, std::vector<SampleRow>(rows_host.size()), ids);
  return absl::OkStatus();
}

absl::StatusOr<TensorView<const Candidate>> Draws::Gather(TensorView<Candidate> mine, const Buffer& all) {
  const int64_t ranks = ranks_->size();
  const TensorView<Candidate> gathered = all.As<Candidate>(mine.rows(), ranks * mine.cols());
  const std::vector<int64_t> columns(ranks, 2 * mine.cols());
  TERNION_RETURN_IF_ERROR(ranks_->GatherLogits(AsFloats(mine), columns, AsFloats(gathered)));
  return TensorView<const Candidate>(gathered);
}

absl::Status Draws::DrawFromWhole(TensorView<const float> shard, absl::Span<const SampleRow> rows_host,
                                  size_t begin, size_t end, TensorView<int32_t> ids) {
  const auto first = static_cast<int64_t>(begin), last = static_cast<int64_t>(end);
  TERNION_ASSIGN_OR_RETURN(const TensorView<const float> logits, Whole(shard.Rows(first, last)));
  const auto draws = rows_host.subspan(begin, end - begin);
  const TensorView<int32_t> drawn(ids.data() + first, 1, last - first);
  if (std::all_of(draws.begin(), draws.end(), [](const SampleRow& how) { return how.takes_largest(); })) {
    backend_->ArgMax(logits, drawn);
  } else {
    backend_->Sample(logits, draws, drawn);
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorView<const float>> Draws::Whole(TensorView<const float> shard) {
  if (ranks_->size() == 1) return shard;
  const TensorView<float> whole = whole_.As<float>(shard.rows(), vocab_);
  TERNION_RETURN_IF_ERROR(ranks_->GatherLogits(shard, columns_, whole));
  return TensorView<const float>(whole);
}

}  // namespace ternion
