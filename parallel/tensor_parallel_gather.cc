// Exchanges that bring every rank the same rows, columns or maxima.
#include <algorithm>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/byte_views.h"
#include "parallel/counted_exchange.h"
#include "parallel/exchange_sizes.h"
#include "parallel/tensor_parallel.h"
#include "parallel/wire_rows.h"

namespace ternion {
namespace {

// Logits are wide and may be many: they travel in slices of about this size, so that buffers stay small.
constexpr int64_t kColumnSliceBytes = int64_t{8} << 20;

int64_t CodesRowBytes(bool int4, int64_t channels) { return int4 ? channels / 2 : channels; }

// One rank's rows on the wire.
void PackCodes(Backend& backend, bool int4, BasicQuantizedRows<const int8_t, const float> rows,
               const WireBlock& wire, uint8_t* block) {
  if (int4) {
    backend.PackInt4(rows.codes, {block, rows.codes.rows(), wire.row_bytes});
  } else {
    backend.Copy(block, rows.codes.data(), rows.codes.bytes());
  }
  backend.Copy(wire.Floats(block, rows.codes.rows()).data(), rows.scales.data(), rows.scales.bytes());
}

void UnpackCodes(Backend& backend, bool int4, const WireBlock& wire, uint8_t* block, QuantizedRows rows) {
  if (int4) {
    backend.UnpackInt4(TensorView<const uint8_t>(block, rows.codes.rows(), wire.row_bytes), rows.codes);
  } else {
    backend.Copy(rows.codes.data(), block, rows.codes.bytes());
  }
  backend.Copy(rows.scales.data(), wire.Floats(block, rows.codes.rows()).data(), rows.scales.bytes());
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
    backend_->Copy(all.codes.data(), mine.codes.data(), mine.codes.bytes());
    backend_->Copy(all.scales.data(), mine.scales.data(), mine.scales.bytes());
    return absl::OkStatus();
  }
  const WireBlock wire{CodesRowBytes(int4, channels)};
  if (PeersTakeRows(channels)) {
    peers_->GatherCodes(int4, OwnedByEach(tokens), mine, all);
    counters_->Add({0, (size() - 1) * owned * (wire.row_bytes + static_cast<int64_t>(sizeof(float))), 0});
    return absl::OkStatus();
  }
  std::vector<size_t> counts;
  for (int r = 0; r < size(); ++r) counts.push_back(wire.Bytes(OwnedRows(tokens, r).size()));
  const auto all_bytes = static_cast<int64_t>(TotalBytes(counts));
  TERNION_RETURN_IF_ERROR(Reserve(send_, wire.Bytes(owned)));
  TERNION_RETURN_IF_ERROR(Reserve(recv_, all_bytes));
  if (owned > 0) PackCodes(*backend_, int4, mine, wire, static_cast<uint8_t*>(send_.data()));
  TERNION_RETURN_IF_ERROR(CountedAllGather(*group_, FrontOf(send_, wire.Bytes(owned)), counts,
                                           FrontOf(recv_, all_bytes), counters_->gather));
  auto* block = static_cast<uint8_t*>(recv_.data());
  for (int r = 0; r < size(); ++r) {
    const Range rows = OwnedRows(tokens, r);
    if (rows.size() > 0) UnpackCodes(*backend_, int4, wire, block, all.Rows(rows.begin, rows.end));
    block += counts[r];
  }
  return absl::OkStatus();
}

absl::Status TensorParallel::GatherFloats(TensorView<const float> mine, TensorView<float> all) {
  CHECK(mine.rows() == OwnedRows(all.rows()).size() && mine.cols() == all.cols(),
        "the owned rows are gathered");
  if (!sequence_parallel(all.rows())) {
    if (mine.data() != all.data()) backend_->Copy(all.data(), mine.data(), mine.bytes());
    return absl::OkStatus();
  }
  std::vector<size_t> counts;
  for (const Range& rows : OwnedByEach(all.rows())) {
    counts.push_back(static_cast<size_t>(rows.size() * all.cols()) * sizeof(float));
  }
  TERNION_RETURN_IF_ERROR(Reserve(send_, mine.bytes()));
  backend_->Copy(send_.data(), mine.data(), mine.bytes());
  return CountedAllGather(*group_, FrontOf(send_, mine.bytes()), counts, AsWritableBytes(all),
                          counters_->gather);
}

absl::Status TensorParallel::GatherColumns(TensorView<const float> mine, absl::Span<const int64_t> columns,
                                           TensorView<float> all) {
  CHECK(columns.size() == static_cast<size_t>(size()) && mine.cols() == columns[rank()],
        "columns holds every rank's number of columns");
  CHECK(mine.rows() == all.rows(), "columns are gathered of the same rows");
  if (size() == 1) {
    backend_->Copy(all.data(), mine.data(), mine.bytes());
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
    JoinColumns(columns, all.Rows(begin, end));
  }
  return absl::OkStatus();
}

absl::Status TensorParallel::GatherLogits(TensorView<const float> mine, absl::Span<const int64_t> columns,
                                          TensorView<float> all) {
  if (peers_ == nullptr || !peers_->TakesColumns(columns)) return GatherColumns(mine, columns, all);
  peers_->GatherColumns(columns, mine, all);
  counters_->Add({0, (size() - 1) * mine.bytes(), 0});
  return absl::OkStatus();
}

void TensorParallel::JoinColumns(absl::Span<const int64_t> columns, TensorView<float> all) {
  const auto* block = static_cast<const float*>(recv_.data());
  int64_t column = 0;
  for (const int64_t width : columns) {
    const TensorView<const float> part(block, all.rows(), width);
    if (!part.empty()) backend_->CopyColumns(part, column, all);
    block += part.size();
    column += width;
  }
  CHECK(column == all.cols(), "the blocks' columns make up the whole row");
}

absl::Status TensorParallel::MaxOverRanks(TensorView<float> values) {
  if (size() == 1) return absl::OkStatus();
  TERNION_RETURN_IF_ERROR(Reserve(recv_, size() * values.bytes()));
  const std::vector<size_t> counts(size(), values.bytes());
  TERNION_RETURN_IF_ERROR(CountedAllGather(*group_, AsBytes<float>(values), counts,
                                           FrontOf(recv_, size() * values.bytes()), counters_->gather));
  const TensorView<float> shares = recv_.As<float>(size(), values.size());  // [tp, T]
  for (int r = 0; r < size(); ++r) {
    if (r != rank()) backend_->Maximum(shares.Rows(r, r + 1), {values.data(), 1, values.size()});
  }
  return absl::OkStatus();
}

std::vector<int32_t> TensorParallel::OwnedOf(int64_t tokens, absl::Span<const int32_t> rows) const {
  const Range owned = OwnedRows(tokens);
  std::vector<int32_t> mine;
  for (const int32_t row : rows) {
    if (owned.begin <= row && row < owned.end) mine.push_back(static_cast<int32_t>(row - owned.begin));
  }
  return mine;
}

absl::Status TensorParallel::GatherRows(int64_t tokens, absl::Span<const int32_t> rows,
                                        TensorView<const float> mine, TensorView<float> all) {
  CHECK(std::is_sorted(rows.begin(), rows.end()), "rows ascend");
  CHECK(all.rows() == static_cast<int64_t>(rows.size()) && mine.cols() == all.cols(), "GatherRows shapes");
  if (!sequence_parallel(tokens)) {
    backend_->Copy(all.data(), mine.data(), mine.bytes());
    return absl::OkStatus();
  }
  std::vector<size_t> counts;
  for (int r = 0; r < size(); ++r) {
    const Range owned = OwnedRows(tokens, r);
    const auto theirs = std::count_if(rows.begin(), rows.end(),
                                      [&](int32_t row) { return owned.begin <= row && row < owned.end; });
    counts.push_back(static_cast<size_t>(theirs * all.cols()) * sizeof(float));
  }
  return CountedAllGather(*group_, AsBytes(mine), counts, AsWritableBytes(all), counters_->gather);
}

}  // namespace ternion
