#include "net/listener.h"

#include <spdlog/spdlog.h>

#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

absl::Status ListenError(const tcp::endpoint& endpoint, const error_code& error) {
  std::ostringstream where;
  where << endpoint;
  const std::string message = absl::StrCat("cannot listen on ", where.str(), ": ", error.message());
  if (error == asio::error::address_in_use) {
    return absl::AlreadyExistsError(absl::StrCat(message, "; choose another port, or 0 for a free one"));
  }
  if (error == asio::error::access_denied) {
    return absl::PermissionDeniedError(absl::StrCat(message, "; choose a port of 1024 or more"));
  }
  return absl::FailedPreconditionError(absl::StrCat(message, "; choose an address of this machine"));
}

error_code OpenAcceptor(tcp::acceptor& acceptor, const tcp::endpoint& endpoint) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (error) return error;
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  const bool any = endpoint.address().is_unspecified();
  if (endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(!any), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  return error;
}

}  // namespace

Listener::Listener(asio::io_context& io)
    : io_(&io), acceptor_(asio::make_strand(io)), retry_(acceptor_.get_executor()) {}

absl::StatusOr<std::shared_ptr<Listener>> Listener::Open(asio::io_context& io, tcp::endpoint endpoint) {
  std::shared_ptr<Listener> listener(new Listener(io));
  error_code error = OpenAcceptor(listener->acceptor_, endpoint);
  if (!error) listener->port_ = listener->acceptor_.local_endpoint(error).port();
  if (error) return ListenError(endpoint, error);
  return listener;
}

void Listener::Start(OnSocket on_socket) {
  on_socket_ = std::move(on_socket);
  asio::post(acceptor_.get_executor(), [self = shared_from_this()] { self->Accept(); });
}

void Listener::Close() {
  asio::post(acceptor_.get_executor(), [self = shared_from_this()] {
    error_code ignored;
    self->acceptor_.close(ignored);
    self->retry_.cancel();
  });
}

void Listener::Accept() {
  acceptor_.async_accept(asio::make_strand(*io_),
                         [self = shared_from_this()](error_code error, tcp::socket socket) {
                           if (!self->acceptor_.is_open()) return;
                           if (!error) self->warned_ = false;
                           if (!error) self->on_socket_(std::move(socket));
                           // Mostly for want of file descriptors, which a connection's end gives back: trying
                           // at once would only spin.
                           if (error && error != asio::error::connection_aborted)
                             return self->AcceptLater(error);
                           self->Accept();
                         });
}

void Listener::AcceptLater(const error_code& why) {
  if (!std::exchange(warned_, true)) {
    spdlog::warn("port {}: a connection could not be accepted: {}; trying again until it can{}", port_,
                 why.message(),
                 why == asio::error::no_descriptors ? " (ulimit -n tells how many files may be open)" : "");
  }
  retry_.expires_after(std::chrono::milliseconds(200));
  retry_.async_wait([self = shared_from_this()](error_code error) {
    if (!error && self->acceptor_.is_open()) self->Accept();
  });
}

absl::StatusOr<std::vector<tcp::endpoint>> ResolveHost(asio::io_context& io, const std::string& host,
                                                       uint16_t port) {
  if (host.empty()) return std::vector<tcp::endpoint>{{tcp::v6(), port}};
  error_code error;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error) {
    return absl::NotFoundError(absl::StrCat("cannot resolve host ", host, ": ", error.message(),
                                            "; give an address or a name of this machine"));
  }
  std::set<tcp::endpoint> endpoints;
  for (const auto& entry : found) endpoints.insert(entry.endpoint());
  return std::vector<tcp::endpoint>(endpoints.begin(), endpoints.end());
}

}  // namespace ternion
