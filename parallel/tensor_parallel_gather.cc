// Exchanges that bring every rank the same rows, columns or maxima.
#include <algorithm>
#include <numeric>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/counted_exchange.h"
#include "parallel/exchange_sizes.h"
#include "parallel/row_copies.h"
#include "parallel/tensor_parallel.h"

namespace ternion {
namespace {

// Logits are wide and may be many: they travel in slices of about this size, so that buffers stay small.
constexpr int64_t kColumnSliceBytes = int64_t{8} << 20;

int64_t CodesRowBytes(bool int4, int64_t channels) { return int4 ? channels / 2 : channels; }

// One rank's rows on the wire: all codes, then all scales.
void PackCodes(Backend& backend, bool int4, BasicQuantizedRows<const int8_t, const float> rows,
               uint8_t* wire) {
  const TensorView<uint8_t> packed(wire, rows.codes.rows(), CodesRowBytes(int4, rows.codes.cols()));
  if (int4) {
    backend.PackInt4(rows.codes, packed);
  } else {
    CopyBytes(rows.codes.data(), packed.bytes(), packed.data());
  }
  CopyBytes(rows.scales.data(), rows.scales.bytes(), wire + packed.bytes());
}

void UnpackCodes(Backend& backend, bool int4, const uint8_t* wire, QuantizedRows rows) {
  const TensorView<const uint8_t> packed(wire, rows.codes.rows(), CodesRowBytes(int4, rows.codes.cols()));
  if (int4) {
    backend.UnpackInt4(packed, rows.codes);
  } else {
    CopyBytes(packed.data(), packed.bytes(), rows.codes.data());
  }
  CopyBytes(wire + packed.bytes(), rows.scales.bytes(), rows.scales.data());
}

}  // namespace

absl::Status TensorParallel::GatherCodes(bool int4, BasicQuantizedRows<const int8_t, const float> mine,
                                         QuantizedRows all) {
  const int64_t tokens = all.codes.rows();
  const int64_t channels = all.codes.cols();
  const int64_t owned = OwnedRows(tokens).size();
  CHECK(mine.codes.rows() == owned && mine.codes.cols() == channels, "codes of the owned rows are gathered");
  CHECK(mine.scales.size() == owned && all.scales.size() == tokens, "every row has one scale");
  CHECK(!int4 || channels % 2 == 0, "two INT4 codes share a byte");
  if (!sequence_parallel(tokens)) {
    CopyBytes(mine.codes.data(), mine.codes.bytes(), all.codes.data());
    CopyBytes(mine.scales.data(), mine.scales.bytes(), all.scales.data());
    return absl::OkStatus();
  }
  const int64_t row_bytes = CodesRowBytes(int4, channels) + static_cast<int64_t>(sizeof(float));
  TERNION_RETURN_IF_ERROR(Reserve(send_, owned * row_bytes));
  TERNION_RETURN_IF_ERROR(Reserve(recv_, tokens * row_bytes));
  PackCodes(*backend_, int4, mine, static_cast<uint8_t*>(send_.data()));
  std::vector<size_t> counts;
  for (int r = 0; r < size(); ++r) counts.push_back(OwnedRows(tokens, r).size() * row_bytes);
  TERNION_RETURN_IF_ERROR(CountedAllGather(*group_, FrontOf(send_, owned * row_bytes), counts,
                                           FrontOf(recv_, tokens * row_bytes), counters_->gather));
  const auto* const wire = static_cast<const uint8_t*>(recv_.data());
  for (int r = 0; r < size(); ++r) {
    const Range rows = OwnedRows(tokens, r);
    UnpackCodes(*backend_, int4, wire + rows.begin * row_bytes, all.Rows(rows.begin, rows.end));
  }
  return absl::OkStatus();
}

absl::Status TensorParallel::GatherColumns(TensorView<const float> mine, absl::Span<const int64_t> columns,
                                           TensorView<float> all) {
  CHECK(columns.size() == static_cast<size_t>(size()) && mine.cols() == columns[rank()],
        "columns holds every rank's number of columns");
  CHECK(mine.rows() == all.rows(), "columns are gathered of the same rows");
  if (size() == 1) {
    CopyBytes(mine.data(), mine.bytes(), all.data());
    return absl::OkStatus();
  }
  const int64_t row_bytes = std::max<int64_t>(all.cols() * sizeof(float), 1);
  const int64_t slice = std::max<int64_t>(kColumnSliceBytes / row_bytes, 1);  // rows
  for (int64_t begin = 0; begin < all.rows(); begin += slice) {
    const int64_t end = std::min(begin + slice, all.rows());
    const int64_t bytes = (end - begin) * all.cols() * static_cast<int64_t>(sizeof(float));
    TERNION_RETURN_IF_ERROR(Reserve(recv_, bytes));
    std::vector<size_t> counts;
    for (const int64_t width : columns) counts.push_back((end - begin) * width * sizeof(float));
    TERNION_RETURN_IF_ERROR(CountedAllGather(*group_, AsBytes(mine.Rows(begin, end)), counts,
                                             FrontOf(recv_, bytes), counters_->gather));
    JoinColumns(static_cast<const float*>(recv_.data()), columns, all.Rows(begin, end));
  }
  return absl::OkStatus();
}

absl::Status TensorParallel::MaxOverRanks(TensorView<float> values) {
  if (size() == 1) return absl::OkStatus();
  TERNION_RETURN_IF_ERROR(Reserve(recv_, size() * values.bytes()));
  const std::vector<size_t> counts(size(), values.bytes());
  TERNION_RETURN_IF_ERROR(CountedAllGather(*group_, AsBytes<float>(values), counts,
                                           FrontOf(recv_, size() * values.bytes()), counters_->gather));
  const TensorView<float> shares = recv_.As<float>(size(), values.size());  // [tp, T]
  for (int64_t t = 0; t < values.size(); ++t) {
    for (int r = 0; r < size(); ++r) values.data()[t] = std::max(values.data()[t], shares.row(r)[t]);
  }
  return absl::OkStatus();
}

absl::Status TensorParallel::GatherRows(TensorView<const float> mine, TensorView<float> all) {
  CHECK(mine.rows() == OwnedRows(all.rows()).size() && mine.cols() == all.cols(),
        "the owned rows are gathered");
  if (!sequence_parallel(all.rows())) {
    CopyBytes(mine.data(), mine.bytes(), all.data());
    return absl::OkStatus();
  }
  std::vector<size_t> counts;
  for (int r = 0; r < size(); ++r) {
    counts.push_back(OwnedRows(all.rows(), r).size() * all.cols() * sizeof(float));
  }
  return CountedAllGather(*group_, AsBytes(mine), counts, AsWritableBytes(all), counters_->gather);
}

}  // namespace ternion
