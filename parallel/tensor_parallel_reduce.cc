// Row-parallel sums. Every rank's partial rows reach their owner unsummed, and the owner adds them in rank
// order, so one-shot and sequence-parallel give the same bits.
#include <cstring>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/row_copies.h"
#include "parallel/tensor_parallel.h"
#include "parallel/wire_rows.h"

namespace ternion {
namespace {

// sum[t] = share[0][t] + share[1][t] + ...; a share is `stride` bytes after the one before, and may lie
// unaligned.
void SumExtra(const uint8_t* share, int64_t stride, int shares, int64_t rows, float* sum) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int r = 0; r < shares; ++r) {
      float value;
      std::memcpy(&value, share + r * stride + t * sizeof(float), sizeof(float));
      sum[t] = r == 0 ? value : sum[t] + value;
    }
  }
}

}  // namespace

absl::Status TensorParallel::ReduceExact(TensorView<const int32_t> partial, TensorView<int32_t> sum) {
  const int64_t owned = OwnedRows(partial.rows()).size();
  CHECK(sum.rows() == owned && sum.cols() == partial.cols(), "a sum has the owned rows of the partial sums");
  if (size() == 1) {
    CopyBytes(partial.data(), partial.bytes(), sum.data());
    return absl::OkStatus();
  }
  TERNION_RETURN_IF_ERROR(
      ExchangeRowBlocks(AsBytes(partial), partial.rows(), partial.cols() * sizeof(int32_t)));
  const TensorView<int32_t> shares = recv_.As<int32_t>(size() * owned, partial.cols());  // [tp * owned, n]
  CopyBytes(shares.data(), sum.bytes(), sum.data());
  for (int r = 1; r < size(); ++r) backend_->AddInt32(shares.Rows(r * owned, (r + 1) * owned), sum);
  return absl::OkStatus();
}

absl::Status TensorParallel::ReduceLossy(WireFormat format, TensorView<const float> partial,
                                         const float* extra, TensorView<float> sum, float* extra_sum) {
  CHECK(size() > 1 && format != WireFormat::kExact, "a lossy reduce is between ranks");
  const int64_t tokens = partial.rows();
  const int64_t owned = OwnedRows(tokens).size();
  CHECK(sum.rows() == owned && sum.cols() == partial.cols(), "a sum has the owned rows of the partial sums");
  const int64_t wire_bytes = WireRowBytes(format, partial.cols());
  const int64_t row_bytes = wire_bytes + (extra != nullptr ? static_cast<int64_t>(sizeof(float)) : 0);

  TERNION_RETURN_IF_ERROR(Reserve(send_, tokens * row_bytes));
  auto* const send = static_cast<uint8_t*>(send_.data());
  const int blocks = sequence_parallel(tokens) ? size() : 1;  // each: encoded rows, then their extras
  for (int b = 0; b < blocks; ++b) {
    const Range rows = OwnedRows(tokens, b);
    uint8_t* const block = send + rows.begin * row_bytes;
    EncodeRows(*backend_, format, partial.Rows(rows.begin, rows.end), block);
    if (extra == nullptr) continue;
    CopyBytes(extra + rows.begin, rows.size() * sizeof(float), block + rows.size() * wire_bytes);
  }
  TERNION_RETURN_IF_ERROR(ExchangeRowBlocks(FrontOf(send_, tokens * row_bytes), tokens, row_bytes));

  const auto* const shares = static_cast<const uint8_t*>(recv_.data());  // [tp][owned * row_bytes]
  for (int r = 0; r < size(); ++r) {
    DecodeRows(*backend_, format, shares + r * owned * row_bytes, /*add=*/r > 0, sum);
  }
  if (extra != nullptr) SumExtra(shares + owned * wire_bytes, owned * row_bytes, size(), owned, extra_sum);
  return absl::OkStatus();
}

}  // namespace ternion
