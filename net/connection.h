#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/client_stream.h"
#include "net/http_error.h"
#include "net/server_options.h"

namespace ternion {

// One client's socket: requests in, bytes out, every wait under a deadline. The socket's executor is a
// strand; unless said otherwise, members are called on it.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  enum class Reading { kDone, kClosed, kTooSlow, kBodyTooLarge, kMalformed, kRefused };

  using Handshaking = ClientStream::Handshaking;

  // `options` outlives the connection. `tls`: null without TLS.
  Connection(boost::asio::ip::tcp::socket socket, const ServerOptions& options,
             std::shared_ptr<boost::asio::ssl::context> tls = nullptr);

  // First of all. What kPlainHttp is answered goes out without TLS.
  boost::asio::awaitable<Handshaking> Handshake();

  // The next request's header; kClosed when the client has left, or sent nothing for the idle time. The limit
  // on the body is checked here where the header tells its length.
  boost::asio::awaitable<Reading> ReadHeader();
  boost::asio::awaitable<Reading> ReadBody();
  // What kRefused is about.
  const HttpError& refusal() const { return refusal_; }
  // What ReadHeader has read, as far as it came.
  const Request& request() const { return parser_->get(); }
  // Nothing of the request is left unread.
  bool request_complete() const { return parser_->is_done(); }
  // Gives the body away, so that its memory does not live as long as the answer takes.
  std::string TakeBody() { return std::move(parser_->get().body()); }

  // False when the client is gone or takes no byte for the write timeout.
  boost::asio::awaitable<bool> Write(std::string_view bytes);

  // While an answer is made: reads ahead, so that the client's end is noticed at once, and keeps what a
  // pipelining client sends. A client that closes its sending side counts as gone. Not to be mixed with
  // ReadHeader and ReadBody.
  void StartWatching();
  boost::asio::awaitable<void> StopWatching();
  bool disconnected() const { return disconnected_; }

  // Returns at a wake-up (at once if there was one since the last call) or when the client has gone; false
  // when `limit` passed first.
  boost::asio::awaitable<bool> WaitForWake(std::chrono::milliseconds limit);
  // Gives a function that wakes WaitForWake. It may be called on any thread, never blocks, and does nothing
  // after the connection's end.
  std::function<void()> Waker();
  // The same for a function that closes at once, and logs this line.
  std::function<void()> Dropper(std::string why);

  // Says goodbye so that an answer just written arrives even if the client is still sending: closes the
  // sending side, then reads and drops for a short while.
  boost::asio::awaitable<void> Close();
  // Closes at once; all waits end.
  void Shut();
  // The same from any thread.
  void Abort();

 private:
  // One read into buffer_; an error when nothing came.
  boost::asio::awaitable<boost::system::error_code> Fill(size_t bytes);
  std::string_view Buffered() const;
  Reading Refuse(HttpError refusal);
  Reading Parse(bool eager);

  void SetDeadline(std::chrono::milliseconds limit);
  void ClearDeadline();
  void ArmDeadline();
  void ReadAhead();
  void WatchForReset();
  void Disconnected();
  void Wake();

  boost::asio::ip::tcp::socket& socket() { return stream_.socket(); }

  ClientStream stream_;
  const ServerOptions* options_;
  boost::beast::flat_buffer buffer_;  // read, not yet parsed
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  HttpError refusal_;

  // One timer serves all deadlines: it is set again only when it fires early, so that a deadline per token is
  // free.
  // The socket's; other threads may ask for it, but not for the socket, which moves when TLS ends.
  const boost::asio::any_io_executor executor_;
  boost::asio::steady_timer deadline_timer_;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
  bool deadline_armed_ = false;
  bool timed_out_ = false;

  boost::asio::steady_timer wake_timer_;
  bool woken_ = false;
  bool watching_ = false;
  bool stop_watching_ = false;
  bool disconnected_ = false;
};

}  // namespace ternion
