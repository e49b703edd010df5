#include "tests/support/raw_control_peer.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "kernels/check.h"
#include "parallel/control_proof.h"

namespace ternion {
namespace asio = boost::asio;
using asio::ip::tcp;
namespace {

// Sockets that block need no thread to run it.
asio::io_context& Context() {
  static asio::io_context context;
  return context;
}

}  // namespace

RawControlPeer RawControlPeer::ConnectTo(uint16_t port) {
  tcp::socket socket(Context());
  boost::system::error_code error;
  socket.connect({asio::ip::address_v4::loopback(), port}, error);
  CHECK(!error, "the server under test listens");
  return RawControlPeer(std::move(socket));
}

RawControlPeer RawControlPeer::ProvenClient(uint16_t port, std::string_view secret, uint32_t rank) {
  RawControlPeer client = ConnectTo(port);
  const auto nonce = client.Read(kNonceBytes);
  CHECK(nonce.has_value(), "a server speaks first");
  client.Write(ClientHello(secret, *nonce, std::string(kNonceBytes, 'c'), rank));
  CHECK(client.Read(kProofBytes).has_value(), "a server answers a proven client");
  return client;
}

void RawControlPeer::Write(std::string_view bytes) {
  boost::system::error_code closed;  // a server that has had enough closes while we still write
  asio::write(socket_, asio::buffer(bytes.data(), bytes.size()), closed);
}

std::optional<std::string> RawControlPeer::Read(size_t bytes) {
  std::string data(bytes, '\0');
  boost::system::error_code error;
  asio::read(socket_, asio::buffer(data), error);
  if (error) return std::nullopt;
  return data;
}

void RawControlPeer::ReadToEnd() {
  while (Read(1).has_value()) {
  }
}

void RawControlPeer::WriteFrame(uint32_t length, uint32_t kind, std::string_view payload) {
  std::string frame;
  AppendUint32(length, frame);
  AppendUint32(kind, frame);
  frame += payload;
  Write(frame);
}

bool ProveAsServer(RawControlPeer& client, std::string_view secret) {
  const std::string nonce(kNonceBytes, 's');
  client.Write(nonce);
  const auto hello = client.Read(kClientHelloBytes);
  if (!hello.has_value()) return false;
  client.Write(ServerProof(secret, hello->substr(sizeof(uint32_t), kNonceBytes), nonce));
  return true;
}

}  // namespace ternion
