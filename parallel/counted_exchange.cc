#include "parallel/counted_exchange.h"

namespace ternion {

absl::Status CountedAllGather(Communicator& group, absl::Span<const std::byte> send,
                              absl::Span<const size_t> counts, absl::Span<std::byte> recv,
                              std::atomic<int64_t>& sent) {
  sent.fetch_add(static_cast<int64_t>(send.size()) * (group.size() - 1), std::memory_order_relaxed);
  return group.AllGather(send, counts, recv);
}

absl::Status CountedAllToAll(Communicator& group, absl::Span<const std::byte> send,
                             absl::Span<const size_t> send_counts, absl::Span<const size_t> recv_counts,
                             absl::Span<std::byte> recv, std::atomic<int64_t>& sent) {
  sent.fetch_add(static_cast<int64_t>(send.size() - send_counts[group.rank()]), std::memory_order_relaxed);
  return group.AllToAll(send, send_counts, recv_counts, recv);
}

absl::Status CountedSend(Communicator& group, absl::Span<const std::byte> data, int to,
                         std::atomic<int64_t>& sent) {
  sent.fetch_add(static_cast<int64_t>(data.size()), std::memory_order_relaxed);
  return group.Send(data, to);
}

}  // namespace ternion
