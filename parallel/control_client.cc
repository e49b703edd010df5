#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
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
constexpr auto kRetryPause = std::chrono::milliseconds(50);
constexpr auto kDrainLimit = std::chrono::seconds(2);

// Where and as whom a client connects.
struct Destination {
  std::string host;
  uint16_t port;
  std::string secret;
  uint32_t rank;

  std::string Name() const { return absl::StrCat("the control server at ", host, ":", port); }
};

// kUnavailable: nobody listens there yet, or the connection broke before anything was claimed.
asio::awaitable<absl::Status> Handshake(tcp::socket& socket, const Destination& to) {
  tcp::resolver resolver(socket.get_executor());
  const auto [unknown, found] = co_await resolver.async_resolve(to.host, std::to_string(to.port), kNoThrow);
  if (unknown) co_return absl::UnavailableError(unknown.message());
  const auto [refused, endpoint] = co_await asio::async_connect(socket, found, kNoThrow);
  if (refused) co_return absl::UnavailableError(refused.message());
  TuneControlSocket(socket);
  std::string server_nonce(kNonceBytes, '\0');
  const auto [silent, heard] = co_await asio::async_read(socket, asio::buffer(server_nonce), kNoThrow);
  if (silent) co_return absl::UnavailableError(silent.message());
  const absl::StatusOr<std::string> nonce = MakeNonce();
  if (!nonce.ok()) co_return nonce.status();
  const std::string hello = ClientHello(to.secret, server_nonce, *nonce, to.rank);
  co_await asio::async_write(socket, asio::buffer(hello), kNoThrow);
  std::string proof(kProofBytes, '\0');
  const auto [closed, got] = co_await asio::async_read(socket, asio::buffer(proof), kNoThrow);
  if (closed) {
    co_return absl::UnauthenticatedError(absl::StrCat(
        to.Name(), " refused rank ", to.rank,
        ": it holds another secret, knows no such rank, or has a connection of this rank already"));
  }
  if (!SameProof(proof, ServerProof(to.secret, *nonce, server_nonce))) {
    co_return absl::UnauthenticatedError(absl::StrCat(to.Name(), " does not know this job's secret"));
  }
  co_return absl::OkStatus();
}

// Retries until the handshake succeeds or is refused; `last` is why the latest try failed.
asio::awaitable<void> HandshakeUntilDone(tcp::socket& socket, const Destination& to, absl::Status& last,
                                         bool& done) {
  asio::steady_timer pause(socket.get_executor());
  while (true) {
    last = co_await Handshake(socket, to);
    if (!absl::IsUnavailable(last)) break;
    boost::system::error_code ignored;
    socket.close(ignored);
    pause.expires_after(kRetryPause);
    co_await pause.async_wait(kNoThrow);
  }
  done = true;
}

class AsioControlClient final : public ControlClient {
 public:
  explicit AsioControlClient(ControlWatch watch) : watch_(std::move(watch)) {}
  ~AsioControlClient() override { Stop(); }

  absl::Status Open(const Destination& to, std::chrono::milliseconds limit);

  absl::StatusOr<Frame> Next() override;
  absl::StatusOr<std::optional<Frame>> NextWithin(std::chrono::microseconds limit) override;
  void Send(Frame frame) override;
  void Stop() override;

 private:
  void StartLink(tcp::socket socket);
  void BeginStop();
  void End(const absl::Status& why);
  void TellLoss(const absl::Status& why);
  bool HasNews() const { return !received_.empty() || !ended_.ok(); }
  absl::StatusOr<Frame> TakeFirst();

  const ControlWatch watch_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::steady_timer drain_{io_};
  std::shared_ptr<ControlLink> link_;
  bool stopping_ = false;  // with told_loss_ the thread's own
  bool told_loss_ = false;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Frame> received_;
  absl::Status ended_;  // OK while the connection lasts
};

absl::Status AsioControlClient::Open(const Destination& to, std::chrono::milliseconds limit) {
  tcp::socket socket(io_);
  absl::Status last = absl::UnavailableError("no answer");
  bool done = false;
  {
    // Runs on the caller's thread. When time is up, the coroutine is destroyed with its context.
    asio::io_context& io = io_;
    asio::co_spawn(io, HandshakeUntilDone(socket, to, last, done), [&io](std::exception_ptr) { io.stop(); });
    io.run_for(limit);
  }
  if (!done) {
    return absl::DeadlineExceededError(absl::StrCat(to.Name(), " cannot be reached within ",
                                                    absl::FormatDuration(absl::FromChrono(limit)), ": ",
                                                    last.message()));
  }
  TERNION_RETURN_IF_ERROR(last);
  StartLink(std::move(socket));
  return absl::OkStatus();
}

void AsioControlClient::StartLink(tcp::socket socket) {
  ControlLink::Events events;
  events.on_frame = [this](Frame frame) {
    const std::lock_guard<std::mutex> lock(mutex_);
    received_.push_back(std::move(frame));
    changed_.notify_one();
  };
  events.on_end = [this](const absl::Status& why) { End(why); };
  events.on_goodbye = [this](const std::string& why) { TellLoss(absl::AbortedError(why)); };
  link_ = std::make_shared<ControlLink>(std::move(socket), std::move(events),
                                        ControlLink::TimingFor(watch_.silence_limit));
  link_->Start();
  io_.restart();
  thread_ = std::thread([this] { io_.run(); });
}

absl::StatusOr<Frame> AsioControlClient::Next() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return HasNews(); });
  return TakeFirst();
}

absl::StatusOr<std::optional<Frame>> AsioControlClient::NextWithin(std::chrono::microseconds limit) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!changed_.wait_for(lock, limit, [&] { return HasNews(); })) return std::nullopt;
  return TakeFirst();
}

// With mutex_ held.
absl::StatusOr<Frame> AsioControlClient::TakeFirst() {
  if (received_.empty()) return ended_;
  Frame frame = std::move(received_.front());
  received_.pop_front();
  return frame;
}

void AsioControlClient::Send(Frame frame) {
  CHECK(IsCallersKind(frame.kind), "kinds of the channel's own");
  asio::post(io_, [this, bytes = EncodeFrame(frame)] { link_->Queue(bytes); });
}

void AsioControlClient::Stop() {
  if (!thread_.joinable()) return;
  asio::post(io_, [this] { BeginStop(); });
  thread_.join();
}

void AsioControlClient::BeginStop() {
  stopping_ = true;
  work_.reset();
  if (!link_->open()) return;
  drain_.expires_after(kDrainLimit);
  drain_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) link_->Close(absl::CancelledError("stopped"));
  });
  link_->Finish();
}

void AsioControlClient::End(const absl::Status& why) {
  drain_.cancel();
  if (!absl::IsCancelled(why)) TellLoss(why);
  const std::lock_guard<std::mutex> lock(mutex_);
  ended_ = absl::UnavailableError(absl::StrCat("the control channel to rank 0 has ended: ", why.message()));
  changed_.notify_all();
}

void AsioControlClient::TellLoss(const absl::Status& why) {
  if (stopping_ || std::exchange(told_loss_, true)) return;
  if (watch_.on_lost) watch_.on_lost(why);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlClient>> ControlClient::Connect(const std::string& host, uint16_t port,
                                                                      std::string secret, int rank,
                                                                      std::chrono::milliseconds limit,
                                                                      ControlWatch watch) {
  const Destination to{host, port, std::move(secret), static_cast<uint32_t>(rank)};
  auto client = std::make_unique<AsioControlClient>(std::move(watch));
  TERNION_RETURN_IF_ERROR(client->Open(to, limit));
  return client;
}

}  // namespace ternion
