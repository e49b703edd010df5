#include "parallel/tensor_parallel.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/byte_views.h"
#include "parallel/counted_exchange.h"
#include "parallel/exchange_sizes.h"

namespace ternion {
namespace {

// The widest form of a row: float32 or int32, or a lossy one (wider for very short rows), and two floats
// beside it.
int64_t MostRowBytes(int64_t channels) {
  int64_t bytes = 0;
  for (const WireFormat format : {WireFormat::kExact, WireFormat::kInt8, WireFormat::kInt4}) {
    bytes = std::max(bytes, WireRowBytes(format, channels));
  }
  return bytes + 2 * static_cast<int64_t>(sizeof(float));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorParallel>> TensorParallel::Create(Backend* backend, Communicator* group,
                                                                       WireBytes* counters,
                                                                       int64_t most_tokens,
                                                                       int64_t most_channels,
                                                                       int64_t one_shot_tokens) {
  CHECK(most_tokens > 0 && most_channels > 0 && one_shot_tokens >= 0, "bounds of an exchange are positive");
  std::unique_ptr<TensorParallel> self(new TensorParallel);
  self->backend_ = backend;
  self->group_ = group;
  self->counters_ = counters;
  self->one_shot_tokens_ = one_shot_tokens;
  if (group->size() == 1) return self;
  // One-shot: every row from every rank. Sequence-parallel: every rank's part of at most ceil(T / tp) rows.
  const int64_t rows =
      std::max(std::min(most_tokens, one_shot_tokens) * group->size(), most_tokens + group->size());
  const int64_t row_bytes = MostRowBytes(most_channels);
  TERNION_RETURN_IF_ERROR(self->Reserve(self->recv_, rows * row_bytes));
  TERNION_RETURN_IF_ERROR(self->Reserve(self->send_, (most_tokens + group->size()) * row_bytes));
  return self;
}

Range TensorParallel::OwnedRows(int64_t tokens, int rank) const {
  if (!sequence_parallel(tokens)) return {0, tokens};
  return SplitEvenly(tokens, 1, size(), rank);
}

absl::Status TensorParallel::ExchangeRowBlocks(const std::byte* send, int64_t tokens,
                                               absl::FunctionRef<int64_t(int64_t rows)> block_bytes) {
  const int64_t owned_bytes = block_bytes(OwnedRows(tokens).size());
  TERNION_RETURN_IF_ERROR(Reserve(recv_, size() * owned_bytes));
  const absl::Span<std::byte> recv = FrontOf(recv_, size() * owned_bytes);
  const std::vector<size_t> recv_counts(size(), owned_bytes);
  if (!sequence_parallel(tokens)) {
    return CountedAllGather(*group_, {send, recv_counts[0]}, recv_counts, recv, counters_->reduce);
  }
  std::vector<size_t> send_counts;
  for (int r = 0; r < size(); ++r) send_counts.push_back(block_bytes(OwnedRows(tokens, r).size()));
  return CountedAllToAll(*group_, {send, TotalBytes(send_counts)}, send_counts, recv_counts, recv,
                         counters_->reduce);
}

absl::Status TensorParallel::Reserve(Buffer& buffer, int64_t bytes) {
  const auto held = static_cast<int64_t>(buffer.bytes());
  if (bytes <= held) return absl::OkStatus();
  // Twice as much, so that all outgrown ones together take no more than the last.
  TERNION_ASSIGN_OR_RETURN(Buffer larger, backend_->Allocate(std::max(bytes, 2 * held)));
  std::swap(buffer, larger);
  if (!larger.empty()) retired_.push_back(std::move(larger));
  return absl::OkStatus();
}

WireCount operator-(const WireCount& a, const WireCount& b) {
  return {a.reduce - b.reduce, a.gather - b.gather, a.pipeline - b.pipeline};
}

WireCount WireBytes::Read() const {
  return {reduce.load(std::memory_order_relaxed), gather.load(std::memory_order_relaxed),
          pipeline.load(std::memory_order_relaxed)};
}

void WireBytes::Add(const WireCount& count) {
  reduce.fetch_add(count.reduce, std::memory_order_relaxed);
  gather.fetch_add(count.gather, std::memory_order_relaxed);
  pipeline.fetch_add(count.pipeline, std::memory_order_relaxed);
}

}  // namespace ternion
