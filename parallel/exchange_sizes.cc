#include "parallel/exchange_sizes.h"

#include <numeric>

#include "kernels/check.h"

namespace ternion {

size_t TotalBytes(absl::Span<const size_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), size_t{0});
}

void CheckAllGather(int rank, int size, size_t send_bytes, absl::Span<const size_t> counts,
                    size_t recv_bytes) {
  CHECK(counts.size() == static_cast<size_t>(size), "AllGather takes one count for every rank");
  CHECK(send_bytes == counts[rank], "AllGather sends as many bytes as the rank's own count says");
  CHECK(recv_bytes == TotalBytes(counts), "AllGather receives the sum of all counts");
}

void CheckAllToAll(int rank, int size, size_t send_bytes, absl::Span<const size_t> send_counts,
                   absl::Span<const size_t> recv_counts, size_t recv_bytes) {
  const size_t ranks = static_cast<size_t>(size);
  CHECK(send_counts.size() == ranks && recv_counts.size() == ranks,
        "AllToAll takes two counts for every rank");
  CHECK(send_bytes == TotalBytes(send_counts), "AllToAll sends the sum of the send counts");
  CHECK(recv_bytes == TotalBytes(recv_counts), "AllToAll receives the sum of the receive counts");
  CHECK(send_counts[rank] == recv_counts[rank], "a rank receives from itself what it sends to itself");
}

void CheckPeer(int rank, int size, int peer) {
  CHECK(0 <= peer && peer < size && peer != rank, "point to point is with another rank of the group");
}

}  // namespace ternion
