#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parallel/communicator.h"

namespace ternion {

// Communicator's operations, adding the bytes this rank sends to other ranks to `sent`.

absl::Status CountedAllGather(Communicator& group, absl::Span<const std::byte> send,
                              absl::Span<const size_t> counts, absl::Span<std::byte> recv,
                              std::atomic<int64_t>& sent);

absl::Status CountedAllToAll(Communicator& group, absl::Span<const std::byte> send,
                             absl::Span<const size_t> send_counts, absl::Span<const size_t> recv_counts,
                             absl::Span<std::byte> recv, std::atomic<int64_t>& sent);

absl::Status CountedSend(Communicator& group, absl::Span<const std::byte> data, int to,
                         std::atomic<int64_t>& sent);

}  // namespace ternion
