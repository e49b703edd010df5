#include "runtime/model/draws.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/status.h"

namespace ternion {

absl::StatusOr<std::unique_ptr<Draws>> Draws::Create(Backend& backend, TensorParallel& ranks,
                                                     std::vector<int64_t> columns, int64_t most_rows) {
  auto draws = std::unique_ptr<Draws>(new Draws);
  draws->backend_ = &backend;
  draws->ranks_ = &ranks;
  draws->vocab_ = std::accumulate(columns.begin(), columns.end(), int64_t{0});
  draws->columns_ = std::move(columns);
  if (ranks.size() > 1) {
    TERNION_ASSIGN_OR_RETURN(draws->whole_, backend.Allocate(most_rows * draws->vocab_ * sizeof(float)));
  }
  return draws;
}

absl::Status Draws::Draw(TensorView<const float> shard, absl::Span<const SampleRow> rows_host,
                         TensorView<int32_t> ids) {
  TERNION_ASSIGN_OR_RETURN(const TensorView<const float> logits, Whole(shard));
  if (ranks_->rank() > 0 && !ranks_->TakesDrawn()) return absl::OkStatus();
  if (std::all_of(rows_host.begin(), rows_host.end(), [](const auto& row) { return row.takes_largest(); })) {
    backend_->ArgMax(logits, ids);
  } else {
    backend_->Sample(logits, rows_host, ids);
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
