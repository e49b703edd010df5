#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
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

// A cudaMalloc of every member, as this device sees it (CUDA IPC).
class MappedPeers {
 public:
  // `mine` outlives the mapping on every member; a member whose `status` says that it has none fails all. Gathers twice,
  // whatever fails.
  static absl::StatusOr<MappedPeers> Map(int rank, int ranks, void* mine, absl::Status status,
                                         GatherStrings gather);
  MappedPeers() = default;
  MappedPeers(MappedPeers&& other) noexcept : of_(std::exchange(other.of_, {})), rank_(other.rank_) {}
  MappedPeers& operator=(MappedPeers&& other) noexcept {
    std::swap(of_, other.of_);
    std::swap(rank_, other.rank_);
    return *this;
  }
  ~MappedPeers();

  void* of(int member) const { return of_[static_cast<size_t>(member)]; }

 private:
  absl::Status Open(const std::vector<std::string>& handles);

  std::vector<void*> of_;
  int rank_ = 0;
};

// This device's inbox, full of kEmptyWord, and the other members' mapped beside it.
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
  absl::Status Make(size_t words);

  PeerInboxes inboxes_;
  MappedPeers mapped_;
  volatile uint32_t* fault_ = nullptr;
};

}  // namespace ternion::cuda
