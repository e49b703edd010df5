// The k-th largest magnitude of rows whose columns are spread over the ranks. Few numbers: every rank gathers
// whole rows and selects for itself, one exchange. Many: row t's columns go to rank floor(t * tp / T) alone,
// which selects, and the thresholds are gathered; two exchanges, but tp times fewer bytes and comparisons.
// Selection is exact, so both give the same bits.
#include <numeric>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/byte_views.h"
#include "parallel/counted_exchange.h"
#include "parallel/tensor_parallel.h"

namespace ternion {
namespace {

constexpr int64_t kGatheredElements = int64_t{1} << 16;  // of all rows together

// What one rank does of the second way.
struct ColumnExchange {
  Communicator& group;
  absl::Span<const int64_t> columns;
  int64_t tokens;

  Range RowsOf(int rank) const { return SplitEvenly(tokens, 1, group.size(), rank); }

  absl::Status ToOwners(TensorView<const float> mine, absl::Span<std::byte> recv, WireBytes& counters) const {
    std::vector<size_t> send_counts;
    std::vector<size_t> recv_counts;
    for (int r = 0; r < group.size(); ++r) {
      send_counts.push_back(RowsOf(r).size() * mine.cols() * sizeof(float));
      recv_counts.push_back(RowsOf(group.rank()).size() * columns[r] * sizeof(float));
    }
    return CountedAllToAll(group, AsBytes(mine), send_counts, recv_counts, recv, counters.gather);
  }

  absl::Status FromOwners(TensorView<const float> mine, TensorView<float> all, WireBytes& counters) const {
    std::vector<size_t> counts;
    for (int r = 0; r < group.size(); ++r) counts.push_back(RowsOf(r).size() * sizeof(float));
    return CountedAllGather(group, AsBytes(mine), counts, AsWritableBytes(all), counters.gather);
  }
};

}  // namespace

absl::Status TensorParallel::KthMagnitude(TensorView<const float> mine, absl::Span<const int64_t> columns,
                                          int64_t k, TensorView<float> threshold) {
  CHECK(columns.size() == static_cast<size_t>(size()) && mine.cols() == columns[rank()],
        "columns holds every rank's number of columns");
  CHECK(threshold.size() == mine.rows(), "every row has one threshold");
  if (size() == 1) {
    backend_->KthMagnitude(mine, k, threshold);
    return absl::OkStatus();
  }
  const int64_t tokens = mine.rows();
  const int64_t channels = std::accumulate(columns.begin(), columns.end(), int64_t{0});
  const bool gathered = tokens * channels <= kGatheredElements;
  const ColumnExchange exchange{*group_, columns, tokens};
  const int64_t owned = gathered ? tokens : exchange.RowsOf(rank()).size();
  const int64_t row_bytes = channels * static_cast<int64_t>(sizeof(float));
  TERNION_RETURN_IF_ERROR(Reserve(send_, owned * (row_bytes + static_cast<int64_t>(sizeof(float)))));
  const TensorView<float> rows = send_.As<float>(owned, channels);  // [owned, n], then its thresholds
  if (gathered) {
    TERNION_RETURN_IF_ERROR(GatherColumns(mine, columns, rows));
    backend_->KthMagnitude(rows, k, threshold);
    return absl::OkStatus();
  }
  TERNION_RETURN_IF_ERROR(Reserve(recv_, owned * row_bytes));
  TERNION_RETURN_IF_ERROR(exchange.ToOwners(mine, FrontOf(recv_, owned * row_bytes), *counters_));
  JoinColumns(columns, rows);
  const TensorView<float> found(rows.data() + rows.size(), 1, owned);
  if (owned > 0) backend_->KthMagnitude(rows, k, found);
  return exchange.FromOwners(found, threshold, *counters_);
}

}  // namespace ternion
