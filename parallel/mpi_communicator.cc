#include "parallel/mpi_communicator.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <list>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/exchange_sizes.h"

namespace ternion {
namespace {

constexpr int kTag = 1;

// Point-to-point messages travel in pieces. Open MPI sends what is this short at once (between processes of a host 4096 bytes
// with headers; over networks more); for longer pieces it may ask the receiver first, and go on only when the sender calls
// MPI again, which a rank that computes does once a layer. A message with too many pieces for that goes in large ones.
constexpr size_t kEagerPieceBytes = 4000;
constexpr size_t kMostEagerBytes = size_t{1} << 20;
constexpr size_t kLargePieceBytes = size_t{1} << 30;

// Calls `take` with each piece in turn; an empty message has an empty piece.
template <typename T, typename Take>
absl::Status ForEachPiece(absl::Span<T> data, Take take) {
  const size_t most = data.size() <= kMostEagerBytes ? kEagerPieceBytes : kLargePieceBytes;
  do {
    const size_t piece = std::min(data.size(), most);
    TERNION_RETURN_IF_ERROR(take(data.subspan(0, piece)));
    data.remove_prefix(piece);
  } while (!data.empty());
  return absl::OkStatus();
}

absl::Status CheckCountable(std::string_view call, size_t bytes) {
  if (bytes <= INT_MAX) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(ToAbsl(call), " of ", bytes, " bytes on one rank; at most ",
                                            INT_MAX, " are possible: use fewer tokens a step"));
}

// Counts and offsets as MPI takes them.
struct Layout {
  std::vector<int> counts;
  std::vector<int> offsets;

  explicit Layout(absl::Span<const size_t> bytes) {
    int offset = 0;
    for (const size_t count : bytes) {
      counts.push_back(static_cast<int>(count));
      offsets.push_back(offset);
      offset += static_cast<int>(count);
    }
  }
};

bool AllEqual(absl::Span<const size_t> counts) {
  return std::all_of(counts.begin(), counts.end(), [&](size_t count) { return count == counts[0]; });
}

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, size_t most_pending_bytes)
      : comm_(comm), most_pending_bytes_(most_pending_bytes) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiCommunicator() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::Status AllGather(absl::Span<const std::byte> send, absl::Span<const size_t> counts,
                         absl::Span<std::byte> recv) override;
  absl::Status AllToAll(absl::Span<const std::byte> send, absl::Span<const size_t> send_counts,
                        absl::Span<const size_t> recv_counts, absl::Span<std::byte> recv) override;
  absl::Status Send(absl::Span<const std::byte> data, int to) override;
  absl::Status Recv(absl::Span<std::byte> data, int from) override;
  absl::StatusOr<bool> Progress() override;

 private:
  struct Pending {
    std::vector<std::byte> data;
    std::vector<MPI_Request> pieces;
  };

  absl::Status Reap();

  MPI_Comm comm_;
  const size_t most_pending_bytes_;
  int rank_ = 0;
  int size_ = 1;
  std::list<Pending> pending_;  // a list, since MPI holds addresses of its elements
  size_t pending_bytes_ = 0;
};

MpiCommunicator::~MpiCommunicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  CHECK(!finalized, "a communicator must go before its MpiSession");
  // What a receiver has not taken yet is still delivered, by MPI_Finalize at the latest: its bytes must stay.
  static auto* const undelivered = new std::list<Pending>;
  if (!Reap().ok() || !pending_.empty()) {
    for (Pending& message : pending_) {
      for (MPI_Request& piece : message.pieces) {
        if (piece != MPI_REQUEST_NULL) MPI_Request_free(&piece);
      }
    }
    undelivered->splice(undelivered->end(), pending_);
  }
  MPI_Comm_free(&comm_);
}

absl::Status MpiCommunicator::AllGather(absl::Span<const std::byte> send, absl::Span<const size_t> counts,
                                        absl::Span<std::byte> recv) {
  CheckAllGather(rank_, size_, send.size(), counts, recv.size());
  TERNION_RETURN_IF_ERROR(CheckCountable("AllGather", recv.size()));
  TERNION_RETURN_IF_ERROR(Reap());
  const int bytes = static_cast<int>(send.size());
  if (AllEqual(counts)) {
    return MpiStatus(MPI_Allgather(send.data(), bytes, MPI_BYTE, recv.data(), bytes, MPI_BYTE, comm_),
                     "MPI_Allgather");
  }
  const Layout from(counts);
  return MpiStatus(MPI_Allgatherv(send.data(), bytes, MPI_BYTE, recv.data(), from.counts.data(),
                                  from.offsets.data(), MPI_BYTE, comm_),
                   "MPI_Allgatherv");
}

absl::Status MpiCommunicator::AllToAll(absl::Span<const std::byte> send, absl::Span<const size_t> send_counts,
                                       absl::Span<const size_t> recv_counts, absl::Span<std::byte> recv) {
  CheckAllToAll(rank_, size_, send.size(), send_counts, recv_counts, recv.size());
  TERNION_RETURN_IF_ERROR(CheckCountable("AllToAll", std::max(send.size(), recv.size())));
  TERNION_RETURN_IF_ERROR(Reap());
  const Layout to(send_counts);
  const Layout from(recv_counts);
  return MpiStatus(MPI_Alltoallv(send.data(), to.counts.data(), to.offsets.data(), MPI_BYTE, recv.data(),
                                 from.counts.data(), from.offsets.data(), MPI_BYTE, comm_),
                   "MPI_Alltoallv");
}

absl::Status MpiCommunicator::Send(absl::Span<const std::byte> data, int to) {
  CheckPeer(rank_, size_, to);
  TERNION_RETURN_IF_ERROR(Reap());
  if (pending_bytes_ + data.size() > most_pending_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a message of ", data.size(), " bytes to rank ", to, ": ", pending_bytes_,
                     " bytes already wait for their receivers, at most ", most_pending_bytes_, " may"));
  }
  Pending& message = pending_.emplace_back();
  message.data.assign(data.begin(), data.end());
  pending_bytes_ += data.size();
  return ForEachPiece(absl::MakeConstSpan(message.data), [&](absl::Span<const std::byte> piece) {
    return MpiStatus(MPI_Isend(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, to, kTag, comm_,
                               &message.pieces.emplace_back(MPI_REQUEST_NULL)),
                     "MPI_Isend");
  });
}

absl::Status MpiCommunicator::Recv(absl::Span<std::byte> data, int from) {
  CheckPeer(rank_, size_, from);
  TERNION_RETURN_IF_ERROR(Reap());
  return ForEachPiece(data, [&](absl::Span<std::byte> piece) -> absl::Status {
    MPI_Status status;
    TERNION_RETURN_IF_ERROR(MpiStatus(
        MPI_Recv(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, from, kTag, comm_, &status),
        "MPI_Recv"));
    int received = 0;
    MPI_Get_count(&status, MPI_BYTE, &received);
    CHECK(static_cast<size_t>(received) == piece.size(), "a receiver expects as many bytes as were sent");
    return absl::OkStatus();
  });
}

absl::StatusOr<bool> MpiCommunicator::Progress() {
  TERNION_RETURN_IF_ERROR(Reap());
  return !pending_.empty();
}

// Frees the copies of messages that MPI is done with.
absl::Status MpiCommunicator::Reap() {
  for (auto message = pending_.begin(); message != pending_.end();) {
    int done = 0;
    TERNION_RETURN_IF_ERROR(MpiStatus(MPI_Testall(static_cast<int>(message->pieces.size()),
                                                  message->pieces.data(), &done, MPI_STATUSES_IGNORE),
                                      "MPI_Testall"));
    if (!done) {
      ++message;
      continue;
    }
    pending_bytes_ -= message->data.size();
    message = pending_.erase(message);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MpiStatus(int code, std::string_view call) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return absl::UnavailableError(absl::StrCat(ToAbsl(call), " failed: ", absl::string_view(text, length)));
}

std::unique_ptr<Communicator> MakeMpiCommunicator(MPI_Comm comm, size_t most_pending_bytes) {
  return std::make_unique<MpiCommunicator>(comm, most_pending_bytes);
}

}  // namespace ternion
