#include <cstring>

#include "parallel/communicator.h"
#include "parallel/exchange_sizes.h"

namespace ternion {
namespace {

class SoloCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }

  absl::Status AllGather(absl::Span<const std::byte> send, absl::Span<const size_t> counts,
                         absl::Span<std::byte> recv) override {
    CheckAllGather(0, 1, send.size(), counts, recv.size());
    if (!send.empty()) std::memcpy(recv.data(), send.data(), send.size());
    return absl::OkStatus();
  }

  absl::Status AllToAll(absl::Span<const std::byte> send, absl::Span<const size_t> send_counts,
                        absl::Span<const size_t> recv_counts, absl::Span<std::byte> recv) override {
    CheckAllToAll(0, 1, send.size(), send_counts, recv_counts, recv.size());
    if (!send.empty()) std::memcpy(recv.data(), send.data(), send.size());
    return absl::OkStatus();
  }

  absl::Status Send(absl::Span<const std::byte>, int to) override {
    CheckPeer(0, 1, to);
    return absl::OkStatus();
  }

  absl::Status Recv(absl::Span<std::byte>, int from) override {
    CheckPeer(0, 1, from);
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Communicator> MakeSoloCommunicator() { return std::make_unique<SoloCommunicator>(); }

}  // namespace ternion
