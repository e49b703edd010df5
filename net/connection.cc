#include "net/connection.h"

#include <spdlog/spdlog.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/error.hpp>
#include <utility>

#include "net/request_head.h"

namespace ternion {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using boost::system::error_code;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr size_t kReadBytes = 4096, kReadBodyBytes = 64u << 10;
constexpr size_t kMostReadAheadBytes = 64u << 10;
constexpr std::chrono::milliseconds kLingerTime{2000};

}  // namespace

Connection::Connection(asio::ip::tcp::socket client, const ServerOptions& options,
                       std::shared_ptr<asio::ssl::context> tls)
    : stream_(std::move(client), std::move(tls)),
      options_(&options),
      executor_(socket().get_executor()),
      deadline_timer_(executor_),
      wake_timer_(executor_) {
  error_code ignored;
  socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  socket().set_option(asio::socket_base::send_buffer_size(options.send_buffer_bytes), ignored);
}

asio::awaitable<Connection::Handshaking> Connection::Handshake() {
  SetDeadline(options_->handshake_timeout);
  const Handshaking result = co_await stream_.Handshake();
  ClearDeadline();
  co_return result;
}

asio::awaitable<error_code> Connection::Fill(size_t bytes) {
  const auto [error, read] = co_await stream_.AsyncReadSome(buffer_.prepare(bytes), kAwait);
  buffer_.commit(read);
  co_return error;
}

std::string_view Connection::Buffered() const {
  return {static_cast<const char*>(buffer_.cdata().data()), buffer_.size()};
}

asio::awaitable<Connection::Reading> Connection::ReadHeader() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(options_->max_header_bytes));
  parser_->body_limit(options_->max_body_bytes);
  if (buffer_.size() == 0) {
    if (buffer_.capacity() > kReadBytes) buffer_.shrink_to_fit();  // a client may be idle for long
    SetDeadline(options_->idle_timeout);
    if (co_await Fill(kReadBytes)) co_return Reading::kClosed;
  }
  SetDeadline(options_->request_timeout);
  RequestHead head(options_->max_header_bytes);
  while (!head.Push(Buffered())) {
    if (co_await Fill(kReadBytes)) co_return timed_out_ ? Reading::kTooSlow : Reading::kClosed;
  }
  if (head.fault().has_value()) co_return Refuse(*head.fault());
  buffer_.consume(head.leading_bytes());
  const Reading reading = Parse(/*eager=*/false);
  if (reading != Reading::kDone || parser_->is_done()) ClearDeadline();
  co_return reading;
}

// The deadline that ReadHeader has set goes on: it holds for the whole request.
asio::awaitable<Connection::Reading> Connection::ReadBody() {
  while (!parser_->is_done()) {
    const Reading reading = Parse(/*eager=*/true);
    if (reading == Reading::kMalformed)
      co_return Refuse(MakeHttpError(400, "the body's chunks are malformed"));
    if (reading != Reading::kDone) co_return reading;
    if (parser_->is_done()) break;
    if (buffer_.size() > options_->max_header_bytes) {
      co_return Refuse(MakeHttpError(400, "a chunk's header or the trailer is too long"));
    }
    if (co_await Fill(kReadBodyBytes)) co_return timed_out_ ? Reading::kTooSlow : Reading::kClosed;
  }
  ClearDeadline();
  co_return Reading::kDone;
}

Connection::Reading Connection::Refuse(HttpError refusal) {
  ClearDeadline();
  refusal_ = std::move(refusal);
  return Reading::kRefused;
}

// kDone as well where the parser needs more.
Connection::Reading Connection::Parse(bool eager) {
  if (buffer_.size() == 0) return Reading::kDone;
  error_code error;
  parser_->eager(eager);
  buffer_.consume(parser_->put(buffer_.data(), error));
  if (!error || error == http::error::need_more) return Reading::kDone;
  ClearDeadline();
  return error == http::error::body_limit ? Reading::kBodyTooLarge : Reading::kMalformed;
}

asio::awaitable<bool> Connection::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    SetDeadline(options_->write_timeout);
    const auto [error, written] =
        co_await stream_.AsyncWriteSome(asio::buffer(bytes.data(), bytes.size()), kAwait);
    ClearDeadline();
    if (error) co_return false;
    bytes.remove_prefix(written);
  }
  co_return true;
}

void Connection::StartWatching() {
  stop_watching_ = false;
  watching_ = true;
  ReadAhead();
}

void Connection::ReadAhead() {
  if (buffer_.size() >= kMostReadAheadBytes) return WatchForReset();
  stream_.AsyncReadSome(buffer_.prepare(kReadBytes),
                        [self = shared_from_this()](error_code error, size_t bytes) {
                          self->buffer_.commit(bytes);
                          if (!error && !self->stop_watching_) return self->ReadAhead();
                          self->watching_ = false;
                          if (error && !self->stop_watching_) self->Disconnected();
                          self->Wake();
                        });
}

// A client that has pipelined this much is not read further; only a reset still tells that it is gone.
void Connection::WatchForReset() {
  socket().async_wait(asio::socket_base::wait_error, [self = shared_from_this()](error_code) {
    self->watching_ = false;
    if (!self->stop_watching_) self->Disconnected();
    self->Wake();
  });
}

void Connection::Disconnected() {
  disconnected_ = true;
  error_code ignored;
  socket().cancel(ignored);  // a write that waits for this client
}

asio::awaitable<void> Connection::StopWatching() {
  stop_watching_ = true;
  error_code ignored;
  if (watching_) socket().cancel(ignored);
  while (watching_ && !disconnected_) co_await WaitForWake(options_->idle_timeout);
}

asio::awaitable<bool> Connection::WaitForWake(std::chrono::milliseconds limit) {
  if (!woken_ && !disconnected_) {
    wake_timer_.expires_after(limit);
    co_await wake_timer_.async_wait(kAwait);
  }
  co_return std::exchange(woken_, false) || disconnected_;
}

void Connection::Wake() {
  woken_ = true;
  wake_timer_.cancel();
}

std::function<void()> Connection::Waker() {
  return [weak = weak_from_this(), executor = executor_] {
    asio::post(executor, [weak] {
      if (const auto self = weak.lock()) self->Wake();
    });
  };
}

std::function<void()> Connection::Dropper(std::string why) {
  return [weak = weak_from_this(), executor = executor_, why = std::move(why)] {
    asio::post(executor, [weak, why] {
      spdlog::info("{}", why);
      if (const auto self = weak.lock()) self->Shut();
    });
  };
}

asio::awaitable<void> Connection::Close() {
  error_code ignored;
  SetDeadline(kLingerTime);
  if (!disconnected_) {
    co_await stream_.EndTls();
    socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  }
  std::array<char, kReadBytes> dropped;
  while (!disconnected_ && !timed_out_) {
    const auto [error, bytes] = co_await socket().async_read_some(asio::buffer(dropped), kAwait);
    if (error) break;
  }
  Shut();
}

void Connection::Shut() {
  error_code ignored;
  ClearDeadline();
  deadline_timer_.cancel();
  socket().close(ignored);
  disconnected_ = true;
  Wake();
}

void Connection::Abort() {
  asio::post(executor_, [self = shared_from_this()] { self->Shut(); });
}

void Connection::SetDeadline(std::chrono::milliseconds limit) {
  timed_out_ = false;
  deadline_ = Clock::now() + limit;
  if (!deadline_armed_ || deadline_ < deadline_timer_.expiry()) ArmDeadline();
}

void Connection::ClearDeadline() { deadline_ = Clock::time_point::max(); }

void Connection::ArmDeadline() {
  deadline_armed_ = true;
  deadline_timer_.expires_at(deadline_);
  deadline_timer_.async_wait([self = shared_from_this()](error_code error) {
    if (error) return;  // set anew, or the connection has ended
    self->deadline_armed_ = false;
    if (self->deadline_ == Clock::time_point::max()) return;
    if (Clock::now() < self->deadline_) return self->ArmDeadline();
    self->timed_out_ = true;
    error_code ignored;
    self->socket().cancel(ignored);
  });
}

}  // namespace ternion
