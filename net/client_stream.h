#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <utility>

namespace ternion {

// A client's socket, with TLS over it or without: both are read and written in the same way.
class ClientStream {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  enum class Handshaking { kDone, kFailed, kPlainHttp };

  // `tls`: null without TLS.
  ClientStream(Socket socket, std::shared_ptr<boost::asio::ssl::context> tls);

  // Before the first byte. kPlainHttp: the client does not speak TLS; what is written now goes out as it is.
  boost::asio::awaitable<Handshaking> Handshake();

  template <typename Token>
  auto AsyncReadSome(boost::asio::mutable_buffer buffer, Token&& token) {
    if (secure_ != nullptr) return secure_->async_read_some(buffer, std::forward<Token>(token));
    return plain_.async_read_some(buffer, std::forward<Token>(token));
  }
  template <typename Token>
  auto AsyncWriteSome(boost::asio::const_buffer buffer, Token&& token) {
    if (secure_ != nullptr) return secure_->async_write_some(buffer, std::forward<Token>(token));
    return plain_.async_write_some(buffer, std::forward<Token>(token));
  }

  // Tells the client that no more will be written, and goes on without TLS.
  boost::asio::awaitable<void> EndTls();

  // Underneath. A read that is cancelled here loses no byte; a write does.
  Socket& socket() { return secure_ != nullptr ? secure_->next_layer() : plain_; }

 private:
  void DropTls();

  std::shared_ptr<boost::asio::ssl::context> tls_;
  Socket plain_;
  std::unique_ptr<boost::asio::ssl::stream<Socket>> secure_;  // holds the socket where it is set
};

}  // namespace ternion
