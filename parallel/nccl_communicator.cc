// Who waits for whom. NCCL runs the operations of one of its communicators on a device in the order in which they were
// enqueued, whatever their streams, and a message of more than its buffers hold ends only when its receiver takes it.
// A stage that received and sent through one communicator could thus not receive before its last message was taken.
// So each link, from a rank to the next, is a communicator of its own, in which one side only sends and the other only
// receives: a message waits for its own receive and for the messages sent before it on the same link, and a receive,
// being part of the receiver's stream, waits for what the receiver has enqueued before. The sender's stream waits for
// neither. Hence no more waits arise than between ranks that send into boundless buffers: what cannot deadlock there, as
// a line of stages with any number of micro-batches, cannot here.
//
// Bytes are moved as such (ncclUint8): for what NCCL only moves, it takes wider words by itself where addresses allow.
#include "parallel/nccl_communicator.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/status.h"
#include "parallel/exchange_sizes.h"
#include "parallel/nccl_channel.h"
#include "parallel/nccl_outbox.h"

namespace ternion {
namespace {

// A message that waits for its receiver occupies this many multiprocessors.
constexpr int kLinkBlocks = 4;
constexpr size_t kGreetingBytes = 16;
constexpr std::chrono::seconds kPatience{30};

// A group's members, by their ranks in the job.
struct Members {
  std::vector<int> ranks;  // in the group's order
  int rank = 0;            // this rank's place among them

  int size() const { return static_cast<int>(ranks.size()); }
  int next() const { return (rank + 1) % size(); }
  int previous() const { return (rank + size() - 1) % size(); }
};

// The ids that the ranks made; [rank in the job], empty where none was to be made or NCCL failed.
struct NcclIds {
  std::vector<std::string> groups;
  std::vector<std::string> links;  // from this rank to its next
};

Members FindMembers(const MpiSession& mpi, int color, int key) {
  std::vector<std::pair<int, int>> order;  // key, rank in the job
  const std::vector<std::string> all = mpi.AllGatherStrings(absl::StrCat(color, " ", key));
  for (size_t rank = 0; rank < all.size(); ++rank) {
    char* rest = nullptr;
    if (std::strtol(all[rank].c_str(), &rest, 10) != color) continue;
    order.emplace_back(static_cast<int>(std::strtol(rest, nullptr, 10)), static_cast<int>(rank));
  }
  std::sort(order.begin(), order.end());
  Members members;
  for (const auto& [ordered_by, rank] : order) {
    if (rank == mpi.rank()) members.rank = members.size();
    members.ranks.push_back(rank);
  }
  return members;
}

bool AllEqual(absl::Span<const size_t> counts) {
  return std::all_of(counts.begin(), counts.end(), [&](size_t count) { return count == counts[0]; });
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Backend& backend, int rank, int size)
      : backend_(backend), stream_(static_cast<cudaStream_t>(backend.stream())), rank_(rank), size_(size) {}

  ~NcclCommunicator() override {
    for (NcclChannel* channel : {group_.get(), to_next_.get(), from_previous_.get()}) {
      if (channel != nullptr) channel->BeginEnd();
    }
  }

  absl::Status JoinGroup(const Members& members, const NcclIds& ids);
  absl::Status JoinLinks(const Members& members, const NcclIds& ids);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::Status AllGather(absl::Span<const std::byte> send, absl::Span<const size_t> counts,
                         absl::Span<std::byte> recv) override;
  absl::Status AllToAll(absl::Span<const std::byte> send, absl::Span<const size_t> send_counts,
                        absl::Span<const size_t> recv_counts, absl::Span<std::byte> recv) override;
  absl::Status Send(absl::Span<const std::byte> data, int to) override;
  absl::Status Recv(absl::Span<std::byte> data, int from) override;

 private:
  // sends[r] to rank r, recvs[r] from it; a rank's own is copied.
  absl::Status Exchange(const std::vector<absl::Span<const std::byte>>& sends,
                        const std::vector<absl::Span<std::byte>>& recvs);
  // Waits until the device has done all, 30 seconds at most.
  absl::Status WaitForDevice() const;
  bool Recording() const;

  Backend& backend_;
  const cudaStream_t stream_;
  const int rank_;
  const int size_;
  // Freeing device memory waits for what runs there, so buffers go after the channels, which end it.
  Buffer group_greetings_;
  Buffer link_greetings_;
  std::unique_ptr<NcclOutbox> outbox_;
  std::unique_ptr<NcclChannel> group_;  // all members; null when it has point to point alone
  std::unique_ptr<NcclChannel> to_next_;
  std::unique_ptr<NcclChannel> from_previous_;
};

// An id for a channel that the rank `maker` was to make.
absl::StatusOr<std::string> IdOf(const std::vector<std::string>& ids, int maker) {
  if (!ids[maker].empty()) return ids[maker];
  return absl::UnavailableError(absl::StrCat("rank ", maker, " could not start NCCL"));
}

// The first exchange connects every pair: a rank's later share of one may be empty.
absl::Status NcclCommunicator::JoinGroup(const Members& members, const NcclIds& ids) {
  TERNION_ASSIGN_OR_RETURN(const std::string id, IdOf(ids.groups, members.ranks[0]));
  TERNION_ASSIGN_OR_RETURN(group_, NcclChannel::Join(id, rank_, size_, /*most_blocks=*/0));
  const size_t bytes = size_ * kGreetingBytes;
  TERNION_ASSIGN_OR_RETURN(group_greetings_, backend_.Allocate(2 * bytes));
  auto* const send = static_cast<std::byte*>(group_greetings_.data());
  const absl::Span<std::byte> recv(send + bytes, bytes);
  const std::vector<size_t> counts(size_, kGreetingBytes);
  TERNION_RETURN_IF_ERROR(AllGather({send, kGreetingBytes}, counts, recv));
  TERNION_RETURN_IF_ERROR(AllToAll({send, bytes}, counts, counts, recv));
  return WaitForDevice();
}

// Link r leads from member r to the next. Members join their two links in ascending order: member 0 and 1 meet in link
// 0, then member 1 and 2 in link 1, ..., at last the last one and member 0. Sender and receiver must meet once for the
// first message too, which connects them; later ones never wait for that.
absl::Status NcclCommunicator::JoinLinks(const Members& members, const NcclIds& ids) {
  TERNION_ASSIGN_OR_RETURN(outbox_, NcclOutbox::Create());
  TERNION_ASSIGN_OR_RETURN(link_greetings_, backend_.Allocate(2 * kGreetingBytes));
  auto* const bytes = static_cast<std::byte*>(link_greetings_.data());
  const auto [first, second] = std::minmax({rank_, members.previous()});
  for (const int link : {first, second}) {
    TERNION_ASSIGN_OR_RETURN(const std::string id, IdOf(ids.links, members.ranks[link]));
    if (link == rank_) {
      TERNION_ASSIGN_OR_RETURN(to_next_, NcclChannel::Join(id, 0, 2, kLinkBlocks));
      TERNION_RETURN_IF_ERROR(Send({bytes, kGreetingBytes}, members.next()));
    } else {
      TERNION_ASSIGN_OR_RETURN(from_previous_, NcclChannel::Join(id, 1, 2, kLinkBlocks));
      TERNION_RETURN_IF_ERROR(Recv({bytes + kGreetingBytes, kGreetingBytes}, members.previous()));
    }
  }
  return WaitForDevice();
}

absl::Status NcclCommunicator::AllGather(absl::Span<const std::byte> send, absl::Span<const size_t> counts,
                                         absl::Span<std::byte> recv) {
  CheckAllGather(rank_, size_, send.size(), counts, recv.size());
  if (recv.empty()) return absl::OkStatus();
  if (size_ > 1 && AllEqual(counts)) {
    CHECK(group_ != nullptr, "a group that was made for collectives");
    TERNION_RETURN_IF_ERROR(group_->Ready());
    return group_->Finish("ncclAllGather", ncclAllGather(send.data(), recv.data(), send.size(), ncclUint8,
                                                         group_->get(), stream_));
  }
  const std::vector<absl::Span<const std::byte>> sends(size_, send);
  std::vector<absl::Span<std::byte>> recvs;
  for (const size_t count : counts) {
    recvs.push_back(recv.subspan(0, count));
    recv.remove_prefix(count);
  }
  return Exchange(sends, recvs);
}

absl::Status NcclCommunicator::AllToAll(absl::Span<const std::byte> send,
                                        absl::Span<const size_t> send_counts,
                                        absl::Span<const size_t> recv_counts, absl::Span<std::byte> recv) {
  CheckAllToAll(rank_, size_, send.size(), send_counts, recv_counts, recv.size());
  std::vector<absl::Span<const std::byte>> sends;
  std::vector<absl::Span<std::byte>> recvs;
  for (int r = 0; r < size_; ++r) {
    sends.push_back(send.subspan(0, send_counts[r]));
    send.remove_prefix(send_counts[r]);
    recvs.push_back(recv.subspan(0, recv_counts[r]));
    recv.remove_prefix(recv_counts[r]);
  }
  return Exchange(sends, recvs);
}

absl::Status NcclCommunicator::Exchange(const std::vector<absl::Span<const std::byte>>& sends,
                                        const std::vector<absl::Span<std::byte>>& recvs) {
  backend_.Copy(recvs[rank_].data(), sends[rank_].data(), sends[rank_].size());
  if (size_ == 1) return absl::OkStatus();
  CHECK(group_ != nullptr, "a group that was made for collectives");
  TERNION_RETURN_IF_ERROR(group_->Ready());
  ncclResult_t refused = ncclSuccess;  // by the first call that was
  const auto keep = [&](ncclResult_t result) {
    if (refused == ncclSuccess && result != ncclInProgress) refused = result;
  };
  keep(ncclGroupStart());
  for (int distance = 1; distance < size_; ++distance) {
    const int to = (rank_ + distance) % size_;
    const int from = (rank_ + size_ - distance) % size_;
    if (!sends[to].empty()) {
      keep(ncclSend(sends[to].data(), sends[to].size(), ncclUint8, to, group_->get(), stream_));
    }
    if (!recvs[from].empty()) {
      keep(ncclRecv(recvs[from].data(), recvs[from].size(), ncclUint8, from, group_->get(), stream_));
    }
  }
  const ncclResult_t ended = ncclGroupEnd();
  if (refused != ncclSuccess) return group_->Finish("ncclSend or ncclRecv", refused);
  return group_->Finish("ncclGroupEnd", ended);
}

absl::Status NcclCommunicator::Send(absl::Span<const std::byte> data, int to) {
  CheckPeer(rank_, size_, to);
  CHECK(to_next_ != nullptr && to == (rank_ + 1) % size_, "a link leads to the next rank alone");
  if (data.empty()) return absl::OkStatus();
  TERNION_RETURN_IF_ERROR(to_next_->Ready());
  // What a recording forks off must join it again, so it may as well stay in line.
  if (Recording()) {
    return to_next_->Finish(
        "ncclSend", ncclSend(data.data(), data.size(), ncclUint8, /*peer=*/1, to_next_->get(), stream_));
  }
  TERNION_ASSIGN_OR_RETURN(void* const copy, outbox_->Take(data, stream_));
  const absl::Status sent = to_next_->Finish(
      "ncclSend", ncclSend(copy, data.size(), ncclUint8, /*peer=*/1, to_next_->get(), outbox_->stream()));
  outbox_->Release(copy);
  return sent;
}

absl::Status NcclCommunicator::Recv(absl::Span<std::byte> data, int from) {
  CheckPeer(rank_, size_, from);
  CHECK(from_previous_ != nullptr && rank_ == (from + 1) % size_,
        "a link leads from the previous rank alone");
  if (data.empty()) return absl::OkStatus();
  TERNION_RETURN_IF_ERROR(from_previous_->Ready());
  return from_previous_->Finish(
      "ncclRecv", ncclRecv(data.data(), data.size(), ncclUint8, /*peer=*/0, from_previous_->get(), stream_));
}

absl::Status NcclCommunicator::WaitForDevice() const {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (const cudaStream_t stream : {stream_, outbox_ == nullptr ? stream_ : outbox_->stream()}) {
    for (cudaError_t state = cudaStreamQuery(stream); state != cudaSuccess; state = cudaStreamQuery(stream)) {
      if (state != cudaErrorNotReady) CUDA_CHECK(state);
      if (std::chrono::steady_clock::now() > deadline) {
        return absl::UnavailableError(
            absl::StrCat("a peer's device did not answer in ", kPatience.count(), " seconds"));
      }
      std::this_thread::yield();
    }
  }
  return absl::OkStatus();
}

bool NcclCommunicator::Recording() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  CUDA_CHECK(cudaStreamIsCapturing(stream_, &status));
  return status == cudaStreamCaptureStatusActive;
}

}  // namespace

bool HasNccl() { return true; }

absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(Backend& backend, const MpiSession& mpi,
                                                                   int color, int key, NcclUse use) {
  CHECK(backend.stream() != nullptr, "NCCL moves memory of CUDA devices");
  const Members members = FindMembers(mpi, color, key);
  const bool collectives = members.size() > 1 && use != NcclUse::kPointToPoint;
  const bool links = members.size() > 1 && use != NcclUse::kCollectives;
  // A rank that fails here takes part in both gathers nevertheless; those that miss its id fail with it.
  absl::Status made;
  const auto make_id = [&]() -> std::string {
    absl::StatusOr<std::string> id = NewNcclId();
    if (id.ok()) return *std::move(id);
    made = id.status();
    return "";
  };
  NcclIds ids;
  ids.groups = mpi.AllGatherStrings(collectives && members.rank == 0 ? make_id() : "");
  ids.links = mpi.AllGatherStrings(links ? make_id() : "");
  TERNION_RETURN_IF_ERROR(made);
  auto communicator = std::make_unique<NcclCommunicator>(backend, members.rank, members.size());
  if (collectives) TERNION_RETURN_IF_ERROR(communicator->JoinGroup(members, ids));
  if (links) TERNION_RETURN_IF_ERROR(communicator->JoinLinks(members, ids));
  return communicator;
}

}  // namespace ternion
