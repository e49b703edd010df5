#include "parallel/control_channel.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/control_proof.h"
#include "tests/support/raw_control_peer.h"

namespace ternion {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kPatience = seconds(20);  // for what must happen
constexpr char kLocalhost[] = "127.0.0.1";

// A server that remembers what came, and lets the test wait for it.
class Rank0 {
 public:
  explicit Rank0(int world, milliseconds silence_limit = kPatience) {
    secret_ = *MakeControlSecret();
    ControlServer::Callbacks callbacks;
    callbacks.on_frame = [this](int rank, Frame frame) {
      const std::lock_guard<std::mutex> lock(mutex_);
      frames_[rank].push_back(std::move(frame));
      changed_.notify_all();
    };
    callbacks.on_lost = [this](int rank, absl::Status why) {
      const std::lock_guard<std::mutex> lock(mutex_);
      lost_[rank].push_back(std::move(why));
      changed_.notify_all();
    };
    server_ = *ControlServer::Listen(kLocalhost, secret_, world, callbacks, silence_limit);
  }

  ControlServer& server() { return *server_; }
  const std::string& secret() const { return secret_; }
  uint16_t port() const { return server_->port(); }

  absl::StatusOr<std::unique_ptr<ControlClient>> Connect(int rank) const {
    return ControlClient::Connect(kLocalhost, port(), secret_, rank, kPatience);
  }
  // The first `count` frames of a rank.
  std::vector<Frame> WaitForFrames(int rank, size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return frames_[rank].size() >= count; }));
    return frames_[rank];
  }
  absl::Status WaitForLoss(int rank) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [&] { return !lost_[rank].empty(); })) return absl::OkStatus();
    return lost_[rank][0];
  }
  size_t losses() {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t count = 0;
    for (const auto& [rank, reasons] : lost_) count += reasons.size();
    return count;
  }

 private:
  std::string secret_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, std::vector<Frame>> frames_;
  std::map<int, std::vector<absl::Status>> lost_;
  std::unique_ptr<ControlServer> server_;  // last: its callbacks use the rest
};

TEST(ControlChannel, TellsHowLongARankHasBeenSilent) {
  Rank0 rank0(2);
  EXPECT_FALSE(rank0.server().ContactWith(1).has_value());
  auto one = *rank0.Connect(1);
  ASSERT_TRUE(rank0.server().WaitForAll(kPatience).ok());
  ASSERT_TRUE(rank0.server().ContactWith(1).has_value());
  EXPECT_TRUE(rank0.server().ContactWith(1)->connected);
  EXPECT_LT(rank0.server().ContactWith(1)->silent_for, kPatience);
  one->Stop();
  EXPECT_EQ(rank0.WaitForLoss(1).code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(rank0.server().ContactWith(1)->connected);
  const auto after = rank0.server().ContactWith(1)->silent_for;
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_GE(rank0.server().ContactWith(1)->silent_for, after + milliseconds(20))
      << "it goes on after the loss";
}

TEST(ControlChannel, FramesGoBothWaysInOrder) {
  constexpr uint32_t kFrames = 2000;
  Rank0 rank0(3);
  auto one = *rank0.Connect(1);
  auto two = *rank0.Connect(2);
  ASSERT_TRUE(rank0.server().WaitForAll(kPatience).ok());
  for (uint32_t i = 1; i <= kFrames; ++i) {
    rank0.server().SendToAll({i, std::string(i % 100, 'a')});
    rank0.server().SendTo(2, {i, "only two"});
    one->Send({i, std::to_string(i)});
  }
  for (uint32_t i = 1; i <= kFrames; ++i) {
    for (ControlClient* client : {one.get(), two.get()}) {
      const auto frame = client->Next();
      ASSERT_TRUE(frame.ok());
      ASSERT_EQ(frame->kind, i);
      ASSERT_EQ(frame->payload, std::string(i % 100, 'a'));
    }
    ASSERT_EQ(two->Next()->payload, "only two");
  }
  const std::vector<Frame> got = rank0.WaitForFrames(1, kFrames);
  for (uint32_t i = 1; i <= kFrames; ++i) {
    ASSERT_EQ(got[i - 1].kind, i);
    ASSERT_EQ(got[i - 1].payload, std::to_string(i));
  }
}

TEST(ControlChannel, StopSendsWhatIsQueued) {
  Rank0 rank0(2);
  auto client = *rank0.Connect(1);
  for (int i = 0; i < 16; ++i)
    rank0.server().SendTo(1, {7, std::string(1 << 20, static_cast<char>('a' + i))});
  rank0.server().Stop();
  for (int i = 0; i < 16; ++i) {
    const auto frame = client->Next();
    ASSERT_TRUE(frame.ok());
    ASSERT_EQ(frame->payload, std::string(1 << 20, static_cast<char>('a' + i)));
  }
  EXPECT_EQ(client->Next().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(rank0.losses(), 0u);
}

TEST(ControlChannel, AClientsLastFramesArriveBeforeItsLoss) {
  Rank0 rank0(2);
  auto client = *rank0.Connect(1);
  client->Send({1, std::string(3 << 20, 'x')});
  client->Send({2, "last words"});
  client->Stop();
  EXPECT_EQ(client->Next().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(rank0.WaitForLoss(1).code(), absl::StatusCode::kCancelled);
  const std::vector<Frame> frames = rank0.WaitForFrames(1, 2);
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[1].payload, "last words");
  EXPECT_EQ(rank0.losses(), 1u);
}

TEST(ControlChannel, FramesForARankThatHasNotComeYetWaitForIt) {
  Rank0 rank0(2);
  rank0.server().SendTo(1, {3, "early"});
  auto client = *rank0.Connect(1);
  EXPECT_EQ(client->Next()->payload, "early");
}

TEST(ControlChannel, TheLargestFrameArrives) {
  Rank0 rank0(2);
  auto client = *rank0.Connect(1);
  client->Send({1, std::string(kMostFrameBytes, 'z')});
  EXPECT_EQ(rank0.WaitForFrames(1, 1)[0].payload.size(), kMostFrameBytes);
}

TEST(ControlChannel, WaitForAllNamesThoseThatAreMissing) {
  Rank0 rank0(4);
  auto client = *rank0.Connect(2);
  const absl::Status status = rank0.server().WaitForAll(milliseconds(20));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("from rank 1, 3"), absl::string_view::npos) << status;
  EXPECT_TRUE(Rank0(1).server().WaitForAll(milliseconds(0)).ok());
}

TEST(ControlChannel, AWrongSecretIsRefused) {
  Rank0 rank0(2);
  const auto client = ControlClient::Connect(kLocalhost, rank0.port(), *MakeControlSecret(), 1, kPatience);
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnauthenticated) << client.status();
  EXPECT_EQ(rank0.server().WaitForAll(milliseconds(0)).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(ControlChannel, AServerWithoutTheSecretIsRefused) {
  RawControlServer impostor([](RawControlPeer& client) {
    ProveAsServer(client, "not the secret");
    client.ReadToEnd();
  });
  const auto client = ControlClient::Connect(kLocalhost, impostor.port(), *MakeControlSecret(), 1, kPatience);
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnauthenticated) << client.status();
}

TEST(ControlChannel, UnknownRanksAndSecondConnectionsAreRefused) {
  Rank0 rank0(2);
  auto client = *rank0.Connect(1);
  ASSERT_TRUE(rank0.server().WaitForAll(kPatience).ok());
  for (const int rank : {0, 1, 2, -1}) {
    EXPECT_EQ(rank0.Connect(rank).status().code(), absl::StatusCode::kUnauthenticated) << rank;
  }
  rank0.server().SendTo(1, {5, "still here"});
  EXPECT_EQ(client->Next()->payload, "still here");
  EXPECT_EQ(rank0.losses(), 0u);
}

TEST(ControlChannel, AReplayedProofIsRefused) {
  Rank0 rank0(2);
  RawControlPeer overheard = RawControlPeer::ConnectTo(rank0.port());
  RawControlPeer replay = RawControlPeer::ConnectTo(rank0.port());
  const auto overheard_nonce = overheard.Read(kNonceBytes);
  ASSERT_TRUE(overheard_nonce.has_value() && replay.Read(kNonceBytes).has_value());
  const std::string hello = ClientHello(rank0.secret(), *overheard_nonce, std::string(kNonceBytes, 'c'), 1);
  replay.Write(hello);
  EXPECT_FALSE(replay.Read(kProofBytes).has_value());
  overheard.Write(hello);
  EXPECT_TRUE(overheard.Read(kProofBytes).has_value());
}

TEST(ControlChannel, GarbageDoesNotDisturbTheServer) {
  Rank0 rank0(2);
  std::vector<RawControlPeer> half_open;
  for (const size_t bytes : {0, 1, 31, 68, 500, 200'000}) {
    RawControlPeer garbage = RawControlPeer::ConnectTo(rank0.port());
    garbage.Write(std::string(bytes, '\xA5'));
    half_open.push_back(std::move(garbage));
  }
  half_open.erase(half_open.begin() + 2, half_open.begin() + 4);  // some go, some stay
  auto client = *rank0.Connect(1);
  client->Send({1, "hello"});
  EXPECT_EQ(rank0.WaitForFrames(1, 1)[0].payload, "hello");
  EXPECT_EQ(rank0.losses(), 0u);
}

TEST(ControlChannel, AnOversizedFrameEndsTheConnection) {
  Rank0 rank0(2);
  RawControlPeer client = RawControlPeer::ProvenClient(rank0.port(), rank0.secret(), 1);
  client.WriteFrame(kMostFrameBytes + 1, 9, "");
  const absl::Status why = rank0.WaitForLoss(1);
  EXPECT_EQ(why.code(), absl::StatusCode::kInvalidArgument) << why;
  client.ReadToEnd();
}

TEST(ControlChannel, AnOversizedFrameFromTheServerEndsTheConnection) {
  const std::string secret = *MakeControlSecret();
  RawControlServer server([&secret](RawControlPeer& client) {
    ASSERT_TRUE(ProveAsServer(client, secret));
    client.WriteFrame(0xFFFFFFFF, 9, "");
    client.ReadToEnd();
  });
  auto client = *ControlClient::Connect(kLocalhost, server.port(), secret, 1, kPatience);
  const absl::Status status = client->Next().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("4294967295 bytes"), absl::string_view::npos) << status;
}

TEST(ControlChannel, ASilentRankIsNoticed) {
  Rank0 rank0(2, milliseconds(200));
  RawControlPeer client = RawControlPeer::ProvenClient(rank0.port(), rank0.secret(), 1);
  const absl::Status why = rank0.WaitForLoss(1);
  EXPECT_EQ(why.code(), absl::StatusCode::kDeadlineExceeded) << why;
  EXPECT_EQ(rank0.server().WaitForAll(kPatience).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(rank0.losses(), 1u);
}

TEST(ControlChannel, AnIdleClientSendsHeartbeats) {
  const std::string secret = *MakeControlSecret();
  RawControlServer server([&secret](RawControlPeer& client) {
    ASSERT_TRUE(ProveAsServer(client, secret));
    for (int beat = 0; beat < 2; ++beat) EXPECT_EQ(client.Read(8), std::string(8, '\0'));
  });
  auto client = *ControlClient::Connect(kLocalhost, server.port(), secret, 1, kPatience);
  EXPECT_EQ(client->Next().status().code(), absl::StatusCode::kUnavailable);  // when the server has gone
}

TEST(ControlChannel, AnIdleServerSendsHeartbeats) {
  Rank0 rank0(2);
  RawControlPeer client = RawControlPeer::ProvenClient(rank0.port(), rank0.secret(), 1);
  for (int beat = 0; beat < 2; ++beat) EXPECT_EQ(client.Read(8), std::string(8, '\0'));
}

// What a client's watch has told.
class Watched {
 public:
  explicit Watched(milliseconds silence_limit = kPatience) : silence_limit_(silence_limit) {}

  ControlWatch watch() {
    return {silence_limit_, [this](absl::Status why) {
              const std::lock_guard<std::mutex> lock(mutex_);
              told_.push_back(std::move(why));
              changed_.notify_all();
            }};
  }
  // All that was told, when something was.
  std::vector<absl::Status> Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return !told_.empty(); });
    return told_;
  }
  size_t told() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return told_.size();
  }

 private:
  const milliseconds silence_limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<absl::Status> told_;
};

TEST(ControlChannel, AClientIsToldThatItsServerIsGoneWhileItsCallerIsElsewhere) {
  const std::string secret = *MakeControlSecret();
  RawControlServer server([&secret](RawControlPeer& client) { ASSERT_TRUE(ProveAsServer(client, secret)); });
  Watched watched;
  auto client = *ControlClient::Connect(kLocalhost, server.port(), secret, 1, kPatience, watched.watch());
  const std::vector<absl::Status> told = watched.Wait();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].code(), absl::StatusCode::kUnavailable) << told[0];
}

TEST(ControlChannel, AClientNoticesASilentServer) {
  const std::string secret = *MakeControlSecret();
  RawControlServer server([&secret](RawControlPeer& client) {
    ASSERT_TRUE(ProveAsServer(client, secret));
    client.ReadToEnd();
  });
  Watched watched(milliseconds(200));
  auto client = *ControlClient::Connect(kLocalhost, server.port(), secret, 1, kPatience, watched.watch());
  const std::vector<absl::Status> told = watched.Wait();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].code(), absl::StatusCode::kDeadlineExceeded) << told[0];
}

TEST(ControlChannel, AClientIsToldWhyTheJobCannotGoOn) {
  Rank0 rank0(2);
  Watched watched;
  auto client =
      *ControlClient::Connect(kLocalhost, rank0.port(), rank0.secret(), 1, kPatience, watched.watch());
  rank0.server().SendFailure("rank 3 was lost");
  const std::vector<absl::Status> told = watched.Wait();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].code(), absl::StatusCode::kAborted);
  EXPECT_EQ(told[0].message(), "rank 3 was lost");
  rank0.server().SendTo(1, {5, "the connection stays"});
  EXPECT_EQ(client->Next()->payload, "the connection stays");
}

TEST(ControlChannel, AServerThatStopsInOrderIsNotLost) {
  Rank0 rank0(2);
  Watched watched;
  auto client =
      *ControlClient::Connect(kLocalhost, rank0.port(), rank0.secret(), 1, kPatience, watched.watch());
  ASSERT_TRUE(rank0.server().WaitForAll(kPatience).ok());
  rank0.server().Stop();
  EXPECT_EQ(client->Next().status().code(), absl::StatusCode::kUnavailable);
  client->Stop();
  EXPECT_EQ(watched.told(), 0u);
}

TEST(ControlChannel, HeartbeatsAreNoFrames) {
  Rank0 rank0(2);
  RawControlPeer client = RawControlPeer::ProvenClient(rank0.port(), rank0.secret(), 1);
  client.WriteFrame(0, 0, "");
  client.WriteFrame(3, 4, "abc");
  const std::vector<Frame> frames = rank0.WaitForFrames(1, 1);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].kind, 4u);
}

TEST(ControlChannel, StopDoesNotWaitForStrangersOrForTheDead) {
  Rank0 rank0(3);
  RawControlPeer stranger = RawControlPeer::ConnectTo(rank0.port());
  { const RawControlPeer gone = RawControlPeer::ProvenClient(rank0.port(), rank0.secret(), 2); }
  EXPECT_EQ(rank0.WaitForLoss(2).code(), absl::StatusCode::kUnavailable);
  rank0.server().Stop();
  stranger.ReadToEnd();
  EXPECT_EQ(rank0.losses(), 1u);
}

TEST(ControlChannel, NobodyListens) {
  uint16_t port = 0;
  {
    Rank0 gone(1);
    port = gone.port();
  }
  const auto client = ControlClient::Connect(kLocalhost, port, *MakeControlSecret(), 1, milliseconds(120));
  EXPECT_EQ(client.status().code(), absl::StatusCode::kDeadlineExceeded) << client.status();
}

TEST(ControlChannel, AClientWaitsForItsServerToListen) {
  const std::string secret = *MakeControlSecret();
  uint16_t port = 0;
  {
    Rank0 gone(1);
    port = gone.port();
  }
  std::thread early_client([&] {
    const auto client = ControlClient::Connect(kLocalhost, port, secret, 1, kPatience);
    EXPECT_TRUE(client.ok()) << client.status();
  });
  boost::asio::io_context io;
  std::this_thread::sleep_for(milliseconds(60));
  boost::asio::ip::tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), port});
  {
    RawControlPeer peer(acceptor.accept());
    EXPECT_TRUE(ProveAsServer(peer, secret));
    peer.ReadToEnd();
  }
  early_client.join();
}

TEST(ControlChannel, AForeignAddressIsRefused) {
  const auto nothing = [](int, auto) {};
  const auto server =
      ControlServer::Listen("192.0.2.1", *MakeControlSecret(), 2, {nothing, nothing}, kPatience);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(server.status().message().find("192.0.2.1"), absl::string_view::npos) << server.status();
}

}  // namespace
}  // namespace ternion
