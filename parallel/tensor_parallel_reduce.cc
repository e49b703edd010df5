// Row-parallel sums. Every rank's partial rows reach their owner unsummed, and the owner adds them in rank
// order, so one-shot and sequence-parallel give the same bits.
#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/byte_views.h"
#include "parallel/tensor_parallel.h"
#include "parallel/wire_rows.h"

namespace ternion {

template <typename T>
absl::StatusOr<TensorView<T>> TensorParallel::ExchangePartialSums(TensorView<const T> partial) {
  const int64_t row_bytes = partial.cols() * static_cast<int64_t>(sizeof(T));
  TERNION_RETURN_IF_ERROR(ExchangeRowBlocks(AsBytes(partial).data(), partial.rows(),
                                            [&](int64_t rows) { return rows * row_bytes; }));
  return recv_.As<T>(size() * OwnedRows(partial.rows()).size(), partial.cols());
}

absl::Status TensorParallel::ReduceExact(TensorView<const int32_t> partial, TensorView<int32_t> sum) {
  const int64_t owned = OwnedRows(partial.rows()).size();
  CHECK(sum.rows() == owned && sum.cols() == partial.cols(), "a sum has the owned rows of the partial sums");
  if (size() == 1) {
    backend_->Copy(sum.data(), partial.data(), partial.bytes());
    return absl::OkStatus();
  }
  TERNION_ASSIGN_OR_RETURN(const TensorView<int32_t> shares, ExchangePartialSums(partial));
  backend_->Copy(sum.data(), shares.data(), sum.bytes());
  for (int r = 1; r < size(); ++r) backend_->AddInt32(shares.Rows(r * owned, (r + 1) * owned), sum);
  return absl::OkStatus();
}

absl::Status TensorParallel::ReduceFloats(TensorView<const float> partial, TensorView<float> sum) {
  const int64_t owned = OwnedRows(partial.rows()).size();
  CHECK(size() > 1, "a sum of floats is between ranks");
  CHECK(sum.rows() == owned && sum.cols() == partial.cols(), "a sum has the owned rows of the partial sums");
  TERNION_ASSIGN_OR_RETURN(const TensorView<float> shares, ExchangePartialSums(partial));
  backend_->Copy(sum.data(), shares.data(), sum.bytes());
  for (int r = 1; r < size(); ++r) backend_->Add(shares.Rows(r * owned, (r + 1) * owned), sum);
  return absl::OkStatus();
}

absl::Status TensorParallel::ReduceLossy(WireFormat format, TensorView<const float> partial,
                                         const float* extra, TensorView<float> sum, float* extra_sum) {
  CHECK(size() > 1 && format != WireFormat::kExact, "a lossy reduce is between ranks");
  const int64_t tokens = partial.rows();
  const int64_t owned = OwnedRows(tokens).size();
  CHECK(sum.rows() == owned && sum.cols() == partial.cols(), "a sum has the owned rows of the partial sums");
  if (PeersTakeRows(partial.cols())) {
    const std::vector<Range> each = OwnedByEach(tokens);
    peers_->ReduceRounded({format == WireFormat::kInt4, each, partial, extra}, sum, extra_sum);
    counters_->Add({LossyBytes(format, tokens, partial.cols(), extra != nullptr), 0, 0});
    return absl::OkStatus();
  }
  const WireBlock wire{WireRowBytes(format, partial.cols()), extra != nullptr};
  const int owners = sequence_parallel(tokens) ? size() : 1;
  int64_t send_bytes = 0;
  for (int r = 0; r < owners; ++r) send_bytes += wire.Bytes(OwnedRows(tokens, r).size());
  TERNION_RETURN_IF_ERROR(Reserve(send_, send_bytes));

  auto* block = static_cast<uint8_t*>(send_.data());
  for (int r = 0; r < owners; ++r) {
    const Range rows = OwnedRows(tokens, r);
    EncodeRows(*backend_, format, partial.Rows(rows.begin, rows.end), block);
    if (extra != nullptr) {
      const TensorView<float> beside = wire.Floats(block, rows.size());
      backend_->Copy(beside.data(), extra + rows.begin, beside.bytes());
    }
    block += wire.Bytes(rows.size());
  }
  TERNION_RETURN_IF_ERROR(ExchangeRowBlocks(static_cast<const std::byte*>(send_.data()), tokens,
                                            [&](int64_t rows) { return wire.Bytes(rows); }));
  if (owned == 0) return absl::OkStatus();

  for (int r = 0; r < size(); ++r) {
    uint8_t* const share = static_cast<uint8_t*>(recv_.data()) + r * wire.Bytes(owned);
    DecodeRows(*backend_, format, share, /*add=*/r > 0, sum);
    if (extra == nullptr) continue;
    const TensorView<float> beside = wire.Floats(share, owned);
    if (r == 0) {
      backend_->Copy(extra_sum, beside.data(), beside.bytes());
    } else {
      backend_->Add(beside, {extra_sum, 1, owned});
    }
  }
  return absl::OkStatus();
}

}  // namespace ternion
