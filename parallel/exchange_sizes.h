#pragma once

#include <cstddef>

#include "absl/types/span.h"

namespace ternion {

// Checks of a Communicator's arguments, the same for every implementation: wrong sizes are our own fault.

size_t TotalBytes(absl::Span<const size_t> counts);

void CheckAllGather(int rank, int size, size_t send_bytes, absl::Span<const size_t> counts,
                    size_t recv_bytes);

void CheckAllToAll(int rank, int size, size_t send_bytes, absl::Span<const size_t> send_counts,
                   absl::Span<const size_t> recv_counts, size_t recv_bytes);

// `peer` is another rank of the group.
void CheckPeer(int rank, int size, int peer);

}  // namespace ternion
