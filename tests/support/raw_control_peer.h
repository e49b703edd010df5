#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace ternion {

// One end of a control connection spoken byte by byte, to misbehave as the real ones do not. Blocking.
class RawControlPeer {
 public:
  // A client, connected but not proven.
  static RawControlPeer ConnectTo(uint16_t port);
  // A client that has proven to be `rank`.
  static RawControlPeer ProvenClient(uint16_t port, std::string_view secret, uint32_t rank);

  explicit RawControlPeer(boost::asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

  void Write(std::string_view bytes);
  // Exactly this many bytes, or nothing when the other side closes before.
  std::optional<std::string> Read(size_t bytes);
  // Reads until the other side closes.
  void ReadToEnd();
  // A frame's header and payload; `length` may lie.
  void WriteFrame(uint32_t length, uint32_t kind, std::string_view payload);

 private:
  boost::asio::ip::tcp::socket socket_;
};

// A control server of one connection on a thread of its own: runs `talk` with the client, then closes.
class RawControlServer {
 public:
  template <typename Talk>
  explicit RawControlServer(Talk talk) {
    thread_ = std::thread([this, talk] {
      RawControlPeer peer(acceptor_.accept());
      talk(peer);
    });
  }
  ~RawControlServer() { thread_.join(); }

  uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_{io_, {boost::asio::ip::address_v4::loopback(), 0}};
  std::thread thread_;
};

// The server's half of the handshake, with a proof of knowing `secret`; false when the client closed before
// its end.
bool ProveAsServer(RawControlPeer& client, std::string_view secret);

}  // namespace ternion
