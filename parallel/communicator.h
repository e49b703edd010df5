#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ternion {

// Collectives of a group of ranks, on bytes in the memory of the group's backend. Every member calls the same
// operations in the same order. Sums are not made here: a format is decoded and added by the receiver
// (parallel/tensor_parallel.h), in rank order, so that results do not depend on the library's choice of algorithm.
// "Done" and "reused" are in the order of the backend's operations: on a device they may lie ahead when a call returns.
//
// Errors: kUnavailable when a peer or the library failed; the group is then unusable.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // recv = the send buffers of ranks 0 .. size-1, one after the other; rank r sends counts[r] bytes.
  virtual absl::Status AllGather(absl::Span<const std::byte> send, absl::Span<const size_t> counts,
                                 absl::Span<std::byte> recv) = 0;

  // Sends the next send_counts[r] bytes of `send` to rank r, receives recv_counts[r] bytes from rank r, laid out in
  // rank order on both sides. A rank's own share is copied.
  virtual absl::Status AllToAll(absl::Span<const std::byte> send, absl::Span<const size_t> send_counts,
                                absl::Span<const size_t> recv_counts, absl::Span<std::byte> recv) = 0;

  // Point to point. Send returns when `data` may be reused; it never waits for the receiver. Messages between
  // two ranks arrive in order.
  virtual absl::Status Send(absl::Span<const std::byte> data, int to) = 0;
  virtual absl::Status Recv(absl::Span<std::byte> data, int from) = 0;
  // Moves on what Send left behind; true while a message has not left. Messages may move within calls alone (MPI), so a
  // rank that has sent and now works or waits elsewhere calls this until it is false, else its receiver may wait for ever.
  virtual absl::StatusOr<bool> Progress() { return false; }
};

// Between two calls of Progress by a rank that has nothing else to do.
inline constexpr std::chrono::microseconds kProgressInterval{20};

// A group of one: the single-device case. What it copies is host memory; the exchanges of tensor_parallel.h ask a group
// of one for no copy, so it serves on every device.
std::unique_ptr<Communicator> MakeSoloCommunicator();

// `size` ranks as threads of one process, for tests: element r is rank r's. They share state and may outlive
// each other.
std::vector<std::unique_ptr<Communicator>> MakeLocalCommunicators(int size);

}  // namespace ternion
