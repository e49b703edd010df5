#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/peer_exchange.h"

namespace ternion::cuda {

// Every member's inbox as this device sees it; passed to kernels by value.
struct PeerInboxes {
  uint32_t* of[kMostPeers] = {};
  int rank = 0;
  int ranks = 1;
  uint32_t* fault = nullptr;  // in host memory: not zero when a wait was given up
};

// A word that no exchanged value has: an inbox holds it wherever nothing has arrived. (As a float it is -0, as an
// integer less than any sum of products.)
inline constexpr uint32_t kEmptyWord = 0x80000000u;

// This device's inbox, full of kEmptyWord, and the other members' mapped beside it (CUDA IPC).
class PeerMemory {
 public:
  static absl::StatusOr<PeerMemory> Create(int rank, int ranks, size_t words, GatherStrings gather);
  PeerMemory(PeerMemory&& other) noexcept;
  PeerMemory& operator=(PeerMemory&&) = delete;
  ~PeerMemory();

  const PeerInboxes& inboxes() const { return inboxes_; }
  bool faulted() const { return *fault_ != 0; }

 private:
  PeerMemory() = default;
  absl::Status Open(size_t words, GatherStrings gather);

  PeerInboxes inboxes_;
  volatile uint32_t* fault_ = nullptr;
};

}  // namespace ternion::cuda
