// Rank 0's side. All state but `arrivals` belongs to the one thread that runs io_; public calls post to it.
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/control_channel.h"
#include "parallel/control_link.h"
#include "parallel/control_proof.h"

namespace ternion {
namespace asio = boost::asio;
using asio::ip::tcp;
namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr auto kHandshakeLimit = std::chrono::seconds(5);
constexpr auto kDrainLimit = std::chrono::seconds(2);
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr std::chrono::nanoseconds kNever{0};
constexpr size_t kMostHandshakes = 1024;  // at a time, against strangers that only connect

std::chrono::nanoseconds Now() { return ControlLink::Clock::now().time_since_epoch(); }

// Who has come, and who went; shared with the threads that wait.
class Arrivals {
 public:
  explicit Arrivals(int world) : arrived_(world, false) { arrived_[0] = true; }

  void Arrive(int rank) {
    const std::lock_guard<std::mutex> lock(mutex_);
    arrived_[rank] = true;
    changed_.notify_all();
  }
  void Lose(int rank, const absl::Status& why) {
    const std::lock_guard<std::mutex> lock(mutex_);
    lost_ = absl::UnavailableError(absl::StrCat("rank ", rank, " was lost: ", why.message()));
    changed_.notify_all();
  }
  absl::Status Wait(std::chrono::milliseconds limit) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, limit, [&] { return !lost_.ok() || Missing().empty(); });
    if (!lost_.ok()) return lost_;
    const std::vector<int> missing = Missing();
    if (missing.empty()) return absl::OkStatus();
    return absl::DeadlineExceededError(absl::StrCat("no control connection within ",
                                                    absl::FormatDuration(absl::FromChrono(limit)),
                                                    " from rank ", absl::StrJoin(missing, ", ")));
  }

 private:
  std::vector<int> Missing() const {
    std::vector<int> missing;
    for (size_t r = 0; r < arrived_.size(); ++r) {
      if (!arrived_[r]) missing.push_back(static_cast<int>(r));
    }
    return missing;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> arrived_;  // [rank]
  absl::Status lost_;
};

class AsioControlServer final : public ControlServer {
 public:
  AsioControlServer(std::string secret, int world, Callbacks callbacks,
                    std::chrono::milliseconds silence_limit)
      : secret_(std::move(secret)),
        callbacks_(std::move(callbacks)),
        silence_limit_(silence_limit),
        arrivals_(world),
        peers_(world),
        last_heard_(world),
        connected_(world) {}
  ~AsioControlServer() override { Stop(); }

  absl::Status Open(const std::string& address);

  uint16_t port() const override { return port_; }
  absl::Status WaitForAll(std::chrono::milliseconds limit) override { return arrivals_.Wait(limit); }
  std::optional<Contact> ContactWith(int rank) const override;
  void SendTo(int rank, Frame frame) override;
  void SendToAll(Frame frame) override;
  void SendFailure(std::string why) override;
  void Stop() override;

 private:
  struct Peer {
    std::shared_ptr<ControlLink> link;  // null before the rank has come
    std::vector<FrameBytes> early;      // queued before
  };
  using SharedSocket = std::shared_ptr<tcp::socket>;

  asio::awaitable<void> Accept();
  asio::awaitable<void> Admit(SharedSocket socket);
  asio::awaitable<absl::StatusOr<int>> ProveRank(tcp::socket& socket);
  absl::StatusOr<int> CheckHello(std::string_view hello, std::string_view server_nonce) const;
  void Connect(int rank, tcp::socket socket);
  void Lose(int rank, const absl::Status& why);
  void QueueFor(Peer& peer, FrameBytes bytes);
  void QueueForAll(const FrameBytes& bytes);
  void BeginStop();
  void EndDrainWhenAllClosed();

  const std::string secret_;
  const Callbacks callbacks_;
  const std::chrono::milliseconds silence_limit_;
  Arrivals arrivals_;
  uint16_t port_ = 0;

  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  tcp::acceptor acceptor_{io_};
  asio::steady_timer pause_{io_};
  asio::steady_timer drain_{io_};
  std::set<SharedSocket> admitting_;
  std::vector<Peer> peers_;  // [rank]
  // [rank]; by the steady clock, kNever before the rank has come. These two are read by any thread.
  std::vector<std::atomic<std::chrono::nanoseconds>> last_heard_;
  std::vector<std::atomic<bool>> connected_;  // [rank]
  bool stopping_ = false;
  std::thread thread_;
};

absl::Status AsioControlServer::Open(const std::string& address) {
  boost::system::error_code error;
  tcp::endpoint endpoint(tcp::v4(), 0);
  if (!address.empty()) {
    const auto found = tcp::resolver(io_).resolve(address, "0", error);
    if (!error) endpoint = *found.begin();
  }
  if (!error) acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
  if (!error) port_ = acceptor_.local_endpoint(error).port();
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot listen for control connections on \"", address, "\": ",
                                               error.message(), "; it must be an address of this host"));
  }
  asio::co_spawn(io_, Accept(), asio::detached);
  thread_ = std::thread([this] { io_.run(); });
  return absl::OkStatus();
}

asio::awaitable<void> AsioControlServer::Accept() {
  while (!stopping_) {
    const auto socket = std::make_shared<tcp::socket>(io_);
    const auto [error] = co_await acceptor_.async_accept(*socket, kNoThrow);
    if (stopping_) co_return;
    if (error) {
      // Such as no free file descriptor: it may pass, and must not keep a core busy meanwhile.
      pause_.expires_after(kAcceptPause);
      co_await pause_.async_wait(kNoThrow);
    } else if (admitting_.size() < kMostHandshakes) {
      asio::co_spawn(io_, Admit(socket), asio::detached);
    }
  }
}

asio::awaitable<void> AsioControlServer::Admit(SharedSocket socket) {
  admitting_.insert(socket);
  TuneControlSocket(*socket);
  asio::steady_timer limit(io_, kHandshakeLimit);
  limit.async_wait([socket](boost::system::error_code cancelled) {
    boost::system::error_code ignored;
    if (!cancelled) socket->close(ignored);
  });
  const absl::StatusOr<int> rank = co_await ProveRank(*socket);
  admitting_.erase(socket);
  if (rank.ok() && !stopping_) Connect(*rank, std::move(*socket));
}

asio::awaitable<absl::StatusOr<int>> AsioControlServer::ProveRank(tcp::socket& socket) {
  const absl::StatusOr<std::string> nonce = MakeNonce();
  if (!nonce.ok()) co_return nonce.status();
  const auto [unsent, sent] = co_await asio::async_write(socket, asio::buffer(*nonce), kNoThrow);
  if (unsent) co_return absl::UnavailableError(unsent.message());
  std::string hello(kClientHelloBytes, '\0');
  const auto [unread, read] = co_await asio::async_read(socket, asio::buffer(hello), kNoThrow);
  if (unread) co_return absl::UnavailableError(unread.message());
  const absl::StatusOr<int> rank = CheckHello(hello, *nonce);
  if (!rank.ok()) co_return rank.status();
  const std::string proof = ServerProof(secret_, hello.substr(sizeof(uint32_t), kNonceBytes), *nonce);
  const auto [unproven, proven] = co_await asio::async_write(socket, asio::buffer(proof), kNoThrow);
  if (unproven) co_return absl::UnavailableError(unproven.message());
  // A second connection may have been proven while this one waited.
  if (peers_[*rank].link != nullptr) co_return absl::AlreadyExistsError("connected already");
  co_return *rank;
}

absl::StatusOr<int> AsioControlServer::CheckHello(std::string_view hello,
                                                  std::string_view server_nonce) const {
  const uint32_t rank = ReadUint32(hello.data());
  const std::string_view client_nonce = hello.substr(sizeof(uint32_t), kNonceBytes);
  const std::string_view proof = hello.substr(sizeof(uint32_t) + kNonceBytes);
  if (!SameProof(proof, ClientProof(secret_, server_nonce, client_nonce, rank))) {
    return absl::UnauthenticatedError("wrong proof");
  }
  if (rank == 0 || rank >= peers_.size()) return absl::InvalidArgumentError("no such rank");
  if (peers_[rank].link != nullptr) return absl::AlreadyExistsError("connected already");
  return static_cast<int>(rank);
}

void AsioControlServer::Connect(int rank, tcp::socket socket) {
  ControlLink::Events events;
  events.on_frame = [this, rank](Frame frame) {
    if (!stopping_) callbacks_.on_frame(rank, std::move(frame));
  };
  events.on_end = [this, rank](const absl::Status& why) { Lose(rank, why); };
  Peer& peer = peers_[rank];
  const auto heard = [this, rank] { last_heard_[rank] = Now(); };
  events.on_heard = heard;
  heard();
  connected_[rank] = true;
  peer.link = std::make_shared<ControlLink>(std::move(socket), std::move(events),
                                            ControlLink::TimingFor(silence_limit_));
  peer.link->Start();
  for (FrameBytes& bytes : peer.early) peer.link->Queue(std::move(bytes));
  peer.early.clear();
  arrivals_.Arrive(rank);
}

std::optional<ControlServer::Contact> AsioControlServer::ContactWith(int rank) const {
  const std::chrono::nanoseconds heard = last_heard_[rank];
  if (heard == kNever) return std::nullopt;
  return Contact{connected_[rank], Now() - heard};
}

void AsioControlServer::Lose(int rank, const absl::Status& why) {
  connected_[rank] = false;
  if (stopping_) return EndDrainWhenAllClosed();
  arrivals_.Lose(rank, why);
  callbacks_.on_lost(rank, why);
}

void AsioControlServer::SendTo(int rank, Frame frame) {
  CHECK(0 < rank && rank < static_cast<int>(peers_.size()), "a frame goes to another rank of the job");
  CHECK(IsCallersKind(frame.kind), "kinds of the channel's own");
  asio::post(io_, [this, rank, bytes = EncodeFrame(frame)] { QueueFor(peers_[rank], bytes); });
}

void AsioControlServer::SendToAll(Frame frame) {
  CHECK(IsCallersKind(frame.kind), "kinds of the channel's own");
  asio::post(io_, [this, bytes = EncodeFrame(frame)] { QueueForAll(bytes); });
}

void AsioControlServer::SendFailure(std::string why) {
  CHECK(!why.empty(), "a failure has a reason");
  asio::post(io_, [this, bytes = EncodeFrame({kGoodbyeKind, std::move(why)})] { QueueForAll(bytes); });
}

void AsioControlServer::QueueForAll(const FrameBytes& bytes) {
  for (size_t rank = 1; rank < peers_.size(); ++rank) QueueFor(peers_[rank], bytes);
}

void AsioControlServer::QueueFor(Peer& peer, FrameBytes bytes) {
  if (peer.link != nullptr) {
    peer.link->Queue(std::move(bytes));
  } else {
    peer.early.push_back(std::move(bytes));
  }
}

void AsioControlServer::Stop() {
  if (!thread_.joinable()) return;
  CHECK(thread_.get_id() != std::this_thread::get_id(), "a callback cannot stop its own server");
  asio::post(io_, [this] { BeginStop(); });
  thread_.join();
}

void AsioControlServer::BeginStop() {
  stopping_ = true;
  work_.reset();
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
  for (const SharedSocket& socket : admitting_) socket->close(ignored);
  drain_.expires_after(kDrainLimit);
  drain_.async_wait([this](boost::system::error_code cancelled) {
    if (cancelled) return;
    for (const Peer& peer : peers_) {
      if (peer.link != nullptr) peer.link->Close(absl::CancelledError("stopped"));
    }
  });
  for (const Peer& peer : peers_) {
    if (peer.link != nullptr) peer.link->Finish();
  }
  EndDrainWhenAllClosed();
}

void AsioControlServer::EndDrainWhenAllClosed() {
  for (const Peer& peer : peers_) {
    if (peer.link != nullptr && peer.link->open()) return;
  }
  drain_.cancel();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(
    const std::string& address, std::string secret, int world, Callbacks callbacks,
    std::chrono::milliseconds silence_limit) {
  CHECK(world > 0 && callbacks.on_frame && callbacks.on_lost, "a server has a world and both callbacks");
  auto server =
      std::make_unique<AsioControlServer>(std::move(secret), world, std::move(callbacks), silence_limit);
  TERNION_RETURN_IF_ERROR(server->Open(address));
  return server;
}

}  // namespace ternion
