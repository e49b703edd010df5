#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

namespace ternion {

// One listening socket. Each accepted socket has a strand of its own.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  using OnSocket = std::function<void(boost::asio::ip::tcp::socket)>;

  // Binds and listens. kAlreadyExists when the port is taken; kFailedPrecondition when this machine does not
  // have the address; kPermissionDenied; each names address and port. An unspecified IPv6 address takes IPv4
  // clients as well.
  static absl::StatusOr<std::shared_ptr<Listener>> Open(boost::asio::io_context& io,
                                                        boost::asio::ip::tcp::endpoint endpoint);
  uint16_t port() const { return port_; }

  // Calls `on_socket` for every client until Close.
  void Start(OnSocket on_socket);
  // From any thread.
  void Close();

 private:
  explicit Listener(boost::asio::io_context& io);
  void Accept();
  void AcceptLater(const boost::system::error_code& why);

  boost::asio::io_context* io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer retry_;
  uint16_t port_ = 0;
  bool warned_ = false;  // since the last client was accepted
  OnSocket on_socket_;
};

// The endpoints that a host name or address stands for; "" is every address of this machine. kNotFound names
// the host.
absl::StatusOr<std::vector<boost::asio::ip::tcp::endpoint>> ResolveHost(boost::asio::io_context& io,
                                                                        const std::string& host,
                                                                        uint16_t port);

}  // namespace ternion
