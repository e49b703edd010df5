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

absl::StatusOr<MappedPeers> MappedPeers::Map(int rank, int ranks, void* mine, absl::Status status,
                                             GatherStrings gather) {
  MappedPeers peers;
  peers.of_.resize(static_cast<size_t>(ranks));
  peers.of_[static_cast<size_t>(rank)] = mine;
  peers.rank_ = rank;
  cudaIpcMemHandle_t handle = {};
  if (status.ok()) status = Check(cudaIpcGetMemHandle(&handle, mine), "cudaIpcGetMemHandle");
  const std::vector<std::string> handles =
      gather({reinterpret_cast<const char*>(&handle), status.ok() ? sizeof(handle) : 0});
  if (status.ok()) status = peers.Open(handles);
  TERNION_RETURN_IF_ERROR(Agreed(status, gather));
  return peers;
}

absl::Status MappedPeers::Open(const std::vector<std::string>& handles) {
  for (size_t peer = 0; peer < of_.size(); ++peer) {
    if (static_cast<int>(peer) == rank_) continue;
    cudaIpcMemHandle_t other;
    if (handles[peer].size() != sizeof(other)) return absl::UnavailableError("another member has no memory");
    std::memcpy(&other, handles[peer].data(), sizeof(other));
    TERNION_RETURN_IF_ERROR(Check(cudaIpcOpenMemHandle(&of_[peer], other, cudaIpcMemLazyEnablePeerAccess),
                                  "cudaIpcOpenMemHandle"));
  }
  return absl::OkStatus();
}

MappedPeers::~MappedPeers() {
  for (size_t peer = 0; peer < of_.size(); ++peer) {
    if (static_cast<int>(peer) != rank_ && of_[peer] != nullptr) cudaIpcCloseMemHandle(of_[peer]);
  }
}

absl::StatusOr<PeerMemory> PeerMemory::Create(int rank, int ranks, size_t words, GatherStrings gather) {
  CHECK(ranks >= 2 && ranks <= kMostPeers, "peers are at least two and at most kMostPeers");
  PeerMemory memory;
  memory.inboxes_.rank = rank;
  memory.inboxes_.ranks = ranks;
  const absl::Status made = memory.Make(words);
  TERNION_ASSIGN_OR_RETURN(memory.mapped_,
                           MappedPeers::Map(rank, ranks, memory.inboxes_.of[rank], made, gather));
  for (int r = 0; r < ranks; ++r) memory.inboxes_.of[r] = static_cast<uint32_t*>(memory.mapped_.of(r));
  return memory;
}

absl::Status PeerMemory::Make(size_t words) {
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
  return absl::OkStatus();
}

PeerMemory::PeerMemory(PeerMemory&& other) noexcept
    : inboxes_(std::exchange(other.inboxes_, {})),
      mapped_(std::move(other.mapped_)),
      fault_(std::exchange(other.fault_, nullptr)) {}

PeerMemory::~PeerMemory() {
  cudaFree(inboxes_.of[inboxes_.rank]);
  cudaFreeHost(inboxes_.fault);
}

}  // namespace ternion::cuda
