// Each link is up to four coroutines on one thread: reader, writer, heartbeat, silence watch. Close cancels
// what they wait for; each then sees that the link is not open and returns.
#include "parallel/control_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace ternion {
namespace asio = boost::asio;
namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr size_t kReadBytes = 64 << 10;
constexpr unsigned kUnacknowledgedLimit_ms = 20'000;
constexpr std::chrono::milliseconds kLongestHeartbeat{1000};
constexpr int kLooksPerLimit = 8;  // at a silence

}  // namespace

ControlLink::ControlLink(Socket socket, Events events, Timing timing)
    : socket_(std::move(socket)),
      events_(std::move(events)),
      timing_(timing),
      wake_(socket_.get_executor(), Clock::time_point::max()),
      beat_(socket_.get_executor()),
      silence_(socket_.get_executor()),
      last_heard_(Clock::now()) {}

void ControlLink::Start() {
  const auto executor = socket_.get_executor();
  asio::co_spawn(executor, Read(), asio::detached);
  asio::co_spawn(executor, Write(), asio::detached);
  asio::co_spawn(executor, Beat(), asio::detached);
  if (timing_.silence_limit) asio::co_spawn(executor, WatchSilence(), asio::detached);
}

void ControlLink::Queue(FrameBytes bytes) {
  if (!open_ || finishing_) return;
  queued_bytes_ += bytes->size();
  if (queued_bytes_ > kMostQueuedBytes) {
    return Close(absl::ResourceExhaustedError(
        absl::StrCat("the peer does not read: ", queued_bytes_, " bytes wait for it")));
  }
  queue_.push_back(std::move(bytes));
  wake_.cancel();
}

ControlLink::Timing ControlLink::TimingFor(std::chrono::milliseconds silence_limit) {
  if (silence_limit.count() == 0) return {kLongestHeartbeat, std::nullopt};
  return {std::min<Clock::duration>(kLongestHeartbeat, silence_limit / 4), silence_limit};
}

void ControlLink::Finish() {
  Queue(EncodeFrame({kGoodbyeKind, ""}));
  finishing_ = true;
  wake_.cancel();
  beat_.cancel();
}

void ControlLink::Close(const absl::Status& why) {
  if (!open_) return;
  open_ = false;
  boost::system::error_code ignored;
  socket_.close(ignored);
  wake_.cancel();
  beat_.cancel();
  silence_.cancel();
  events_.on_end(why);
}

asio::awaitable<void> ControlLink::Read() {
  const auto self = shared_from_this();
  std::vector<char> chunk(kReadBytes);
  while (open_) {
    const auto [error, bytes] = co_await socket_.async_read_some(asio::buffer(chunk), kNoThrow);
    if (error && peer_said_goodbye_) {
      Close(absl::CancelledError("the peer has stopped"));
    } else if (error) {
      Close(absl::UnavailableError(absl::StrCat("the connection ended: ", error.message())));
    } else {
      Receive({chunk.data(), bytes});
    }
  }
}

void ControlLink::Receive(std::string_view bytes) {
  last_heard_ = Clock::now();
  if (events_.on_heard) events_.on_heard();
  const absl::Status status = parser_.Feed(bytes, [this](Frame frame) {
    if (open_) Take(std::move(frame));
  });
  if (!status.ok()) Close(status);
}

void ControlLink::Take(Frame frame) {
  if (IsCallersKind(frame.kind)) return events_.on_frame(std::move(frame));
  if (frame.kind != kGoodbyeKind) return;
  peer_said_goodbye_ = true;
  if (!frame.payload.empty() && events_.on_goodbye) events_.on_goodbye(std::move(frame.payload));
}

asio::awaitable<void> ControlLink::Write() {
  const auto self = shared_from_this();
  while (open_) {
    if (!queue_.empty()) {
      const FrameBytes bytes = std::move(queue_.front());
      queue_.pop_front();
      const auto [error, written] = co_await asio::async_write(socket_, asio::buffer(*bytes), kNoThrow);
      queued_bytes_ -= bytes->size();
      if (error) Close(absl::UnavailableError(absl::StrCat("the connection ended: ", error.message())));
    } else if (finishing_) {
      // Half closed: a full close could reset the connection before the peer has read what was sent.
      boost::system::error_code ignored;
      socket_.shutdown(Socket::shutdown_send, ignored);
      co_return;
    } else {
      co_await wake_.async_wait(kNoThrow);
    }
  }
}

asio::awaitable<void> ControlLink::Beat() {
  const auto self = shared_from_this();
  while (open_ && !finishing_) {
    Queue(EncodeFrame({kHeartbeatKind, ""}));
    beat_.expires_after(timing_.heartbeat);
    co_await beat_.async_wait(kNoThrow);
  }
}

asio::awaitable<void> ControlLink::WatchSilence() {
  const auto self = shared_from_this();
  const Clock::duration limit = *timing_.silence_limit;
  const Clock::duration pause = limit / kLooksPerLimit;
  Clock::time_point looked = last_heard_;
  while (open_) {
    silence_.expires_at(std::min(last_heard_ + limit, Clock::now() + pause));
    co_await silence_.async_wait(kNoThrow);
    const Clock::time_point now = Clock::now();
    // While this process stood still itself, as a whole job does that is suspended, it could hear nothing.
    if (now - looked > 2 * pause) last_heard_ += std::min(now - looked - pause, now - last_heard_);
    looked = now;
    if (!open_ || now - last_heard_ < limit) continue;
    // Nor is silence what waits to be read.
    boost::system::error_code ignored;
    if (socket_.available(ignored) > 0) {
      last_heard_ = now;
      continue;
    }
    Close(absl::DeadlineExceededError(
        absl::StrCat("silent for longer than ", absl::FormatDuration(absl::FromChrono(limit)))));
  }
}

void TuneControlSocket(ControlLink::Socket& socket) {
  boost::system::error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  const unsigned limit_ms = kUnacknowledgedLimit_ms;
  setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms));
}

}  // namespace ternion
