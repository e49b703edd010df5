#include "tests/support/communicator_contract.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "kernels/check.h"

namespace ternion {
namespace {

using Bytes = std::vector<std::byte>;

// What rank `from` sends to rank `to` in round `round`; any two messages differ.
Bytes Message(int from, int to, int round, size_t bytes) {
  Bytes message(bytes);
  for (size_t i = 0; i < bytes; ++i)
    message[i] = static_cast<std::byte>(from * 31 + to * 7 + round * 13 + i * 3);
  return message;
}

// Bytes in a backend's memory. The room is taken once, before the first exchange, since freeing it could wait for one.
class BackendBytes {
 public:
  BackendBytes(Backend& backend, size_t most_bytes) : backend_(backend) {
    auto room = backend.Allocate(most_bytes);
    CHECK(room.ok(), "a test's bytes fit");
    room_ = *std::move(room);
  }

  absl::Span<std::byte> Front(size_t bytes) const {
    CHECK(bytes <= room_.bytes(), "a test's bytes fit");
    return {static_cast<std::byte*>(room_.data()), bytes};
  }
  absl::Span<std::byte> Write(const Bytes& bytes) const {
    backend_.CopyFromHost(room_.data(), bytes.data(), bytes.size());
    return Front(bytes.size());
  }
  Bytes Read(size_t bytes) const {
    Bytes host(bytes);
    backend_.CopyToHost(host.data(), Front(bytes).data(), bytes);
    backend_.Synchronize();
    return host;
  }

 private:
  Backend& backend_;
  Buffer room_;
};

void Append(const Bytes& more, Bytes& to) { to.insert(to.end(), more.begin(), more.end()); }

constexpr size_t kMostBytes = 6 * 1001;  // of SizeOf

// One size for all, then different ones, none among them.
size_t SizeOf(int from, int to, int round) {
  if (round < 3) return 64 * round;
  return static_cast<size_t>((from * 5 + to * 3 + round) % 7) * (round % 2 == 0 ? 1 : 1001);
}

}  // namespace

void CheckAllGatherContract(Communicator& group, Backend& backend) {
  const BackendBytes send(backend, kMostBytes);
  const BackendBytes recv(backend, group.size() * kMostBytes);
  for (int round = 0; round < 40; ++round) {
    std::vector<size_t> counts;
    Bytes want;
    for (int r = 0; r < group.size(); ++r) {
      counts.push_back(SizeOf(r, 0, round));
      Append(Message(r, 0, round, counts[r]), want);
    }
    const Bytes mine = Message(group.rank(), 0, round, counts[group.rank()]);
    ASSERT_TRUE(group.AllGather(send.Write(mine), counts, recv.Front(want.size())).ok());
    ASSERT_EQ(recv.Read(want.size()), want) << "round " << round << " on rank " << group.rank();
  }
}

void CheckAllToAllContract(Communicator& group, Backend& backend) {
  const BackendBytes sent(backend, group.size() * kMostBytes);
  const BackendBytes recv(backend, group.size() * kMostBytes);
  for (int round = 0; round < 40; ++round) {
    std::vector<size_t> send_counts;
    std::vector<size_t> recv_counts;
    Bytes send;
    Bytes want;
    for (int r = 0; r < group.size(); ++r) {
      send_counts.push_back(SizeOf(group.rank(), r, round));
      recv_counts.push_back(SizeOf(r, group.rank(), round));
      Append(Message(group.rank(), r, round, send_counts[r]), send);
      Append(Message(r, group.rank(), round, recv_counts[r]), want);
    }
    ASSERT_TRUE(group.AllToAll(sent.Write(send), send_counts, recv_counts, recv.Front(want.size())).ok());
    ASSERT_EQ(recv.Read(want.size()), want) << "round " << round << " on rank " << group.rank();
  }
}

void CheckSendRecvContract(Communicator& group, Backend& backend) {
  const std::vector<size_t> sizes = {0, 1, 4096, 3, 0, 600'000, 17, 70'000};
  const int rounds = 2 * static_cast<int>(sizes.size());
  const BackendBytes send(backend, 600'000);
  const BackendBytes recv(backend, 600'000);
  for (int round = 0; round < rounds; ++round) {
    for (int to = 0; to < group.size(); ++to) {
      if (to == group.rank()) continue;
      Bytes message = Message(group.rank(), to, round, sizes[round % sizes.size()]);
      ASSERT_TRUE(group.Send(send.Write(message), to).ok());
      message.assign(message.size(), std::byte{0xEE});  // Send has let go of it
      send.Write(message);
    }
  }
  for (int from = 0; from < group.size(); ++from) {
    for (int round = 0; round < rounds && from != group.rank(); ++round) {
      const Bytes want = Message(from, group.rank(), round, sizes[round % sizes.size()]);
      ASSERT_TRUE(group.Recv(recv.Front(want.size()), from).ok());
      ASSERT_TRUE(recv.Read(want.size()) == want)
          << "round " << round << " from " << from << " to " << group.rank();
    }
  }
}

}  // namespace ternion
