#include "kernels/cuda/peer_memory.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion::cuda {
namespace {

constexpr size_t kWordsAtATime = size_t{1} << 20;

absl::Status Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // taken
  return absl::UnavailableError(absl::StrCat(what, ": ", cudaGetErrorString(error)));
}

// The first member's trouble on all members, or OK.
absl::Status Agreed(const absl::Status& mine, GatherStrings gather) {
  const std::vector<std::string> all = gather(std::string(mine.message()));
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty()) return absl::UnavailableError(absl::StrCat("member ", rank, ": ", all[rank]));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PeerMemory> PeerMemory::Create(int rank, int ranks, size_t words, GatherStrings gather) {
  CHECK(ranks >= 2 && ranks <= kMostPeers, "peers are at least two and at most kMostPeers");
  PeerMemory memory;
  memory.inboxes_.rank = rank;
  memory.inboxes_.ranks = ranks;
  TERNION_RETURN_IF_ERROR(memory.Open(words, gather));
  return memory;
}

absl::Status PeerMemory::Open(size_t words, GatherStrings gather) {
  cudaIpcMemHandle_t handle = {};
  const auto make = [&]() -> absl::Status {
    const std::vector<uint32_t> empty(std::min(words, kWordsAtATime), kEmptyWord);
    void* memory = nullptr;
    TERNION_RETURN_IF_ERROR(Check(cudaMalloc(&memory, words * sizeof(uint32_t)), "cudaMalloc"));
    uint32_t* const inbox = inboxes_.of[inboxes_.rank] = static_cast<uint32_t*>(memory);
    for (size_t begin = 0; begin < words; begin += empty.size()) {
      const size_t bytes = std::min(empty.size(), words - begin) * sizeof(uint32_t);
      TERNION_RETURN_IF_ERROR(
          Check(cudaMemcpy(inbox + begin, empty.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy"));
    }
    TERNION_RETURN_IF_ERROR(
        Check(cudaHostAlloc(&memory, sizeof(uint32_t), cudaHostAllocMapped), "cudaHostAlloc"));
    inboxes_.fault = static_cast<uint32_t*>(memory);
    *inboxes_.fault = 0;
    fault_ = inboxes_.fault;
    return Check(cudaIpcGetMemHandle(&handle, inboxes_.of[inboxes_.rank]), "cudaIpcGetMemHandle");
  };
  // Whatever fails where, every member gathers twice.
  absl::Status status = make();
  const std::string mine(reinterpret_cast<const char*>(&handle), status.ok() ? sizeof(handle) : 0);
  const std::vector<std::string> handles = gather(mine);
  const auto open = [&]() -> absl::Status {
    for (int peer = 0; peer < inboxes_.ranks; ++peer) {
      if (peer == inboxes_.rank) continue;
      cudaIpcMemHandle_t other;
      const std::string& bytes = handles[static_cast<size_t>(peer)];
      if (bytes.size() != sizeof(other)) return absl::UnavailableError("another member has no inbox");
      std::memcpy(&other, bytes.data(), sizeof(other));
      void* mapped = nullptr;
      TERNION_RETURN_IF_ERROR(Check(cudaIpcOpenMemHandle(&mapped, other, cudaIpcMemLazyEnablePeerAccess),
                                    "cudaIpcOpenMemHandle"));
      inboxes_.of[peer] = static_cast<uint32_t*>(mapped);
    }
    return absl::OkStatus();
  };
  if (status.ok()) status = open();
  return Agreed(status, gather);
}

PeerMemory::PeerMemory(PeerMemory&& other) noexcept
    : inboxes_(std::exchange(other.inboxes_, {})), fault_(std::exchange(other.fault_, nullptr)) {}

PeerMemory::~PeerMemory() {
  for (int peer = 0; peer < inboxes_.ranks; ++peer) {
    if (inboxes_.of[peer] == nullptr) continue;
    peer == inboxes_.rank ? cudaFree(inboxes_.of[peer]) : cudaIpcCloseMemHandle(inboxes_.of[peer]);
  }
  cudaFreeHost(inboxes_.fault);
}

}  // namespace ternion::cuda
