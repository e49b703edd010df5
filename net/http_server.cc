#include "net/http_server.h"

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "net/listener.h"
#include "net/server_state.h"
#include "net/session.h"

namespace ternion {

class HttpServer::Network {
 public:
  Network(ServerOptions options, std::unique_ptr<TlsContext> tls)
      : state_(std::make_shared<ServerState>(std::move(options), std::move(tls), io_)) {}

  absl::Status Listen();
  void Start();
  void Stop();
  uint16_t port() const { return listeners_.front()->port(); }
  ServerState& state() { return *state_; }

 private:
  void RunThread();

  boost::asio::io_context io_;
  std::shared_ptr<ServerState> state_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::vector<std::thread> threads_;
};

// A name may stand for several addresses. Those that this machine does not have are passed over, as long as
// one is left; a taken port is never passed over.
absl::Status HttpServer::Network::Listen() {
  const ServerOptions& options = state_->options();
  TERNION_ASSIGN_OR_RETURN(auto endpoints, ResolveHost(io_, options.host, options.port));
  absl::Status failure;
  for (auto& endpoint : endpoints) {
    if (!listeners_.empty()) endpoint.port(port());
    auto listener = Listener::Open(io_, endpoint);
    if (listener.ok()) {
      listeners_.push_back(*std::move(listener));
    } else if (!absl::IsFailedPrecondition(listener.status())) {
      return listener.status();
    } else {
      failure = listener.status();
    }
  }
  return listeners_.empty() ? failure : absl::OkStatus();
}

void HttpServer::Network::Start() {
  for (const auto& listener : listeners_) {
    listener->Start(
        [state = state_](boost::asio::ip::tcp::socket socket) { Session::Start(std::move(socket), state); });
  }
  for (int i = 0; i < state_->options().threads; ++i) threads_.emplace_back([this] { RunThread(); });
}

// An exception that reaches this place (memory, mostly) has ended one handler; the others go on.
void HttpServer::Network::RunThread() {
  for (bool done = false; !done;) {
    try {
      io_.run();
      done = true;
    } catch (const std::exception& error) {
      spdlog::error("a network thread caught: {}", error.what());
    }
  }
}

// Threads leave io_context::run by themselves when no connection and no listener is left.
void HttpServer::Network::Stop() {
  if (threads_.empty()) return;
  for (const auto& listener : listeners_) listener->Close();
  state_->AbortConnections();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  state_->mail().Close();
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Bind(ServerOptions options) {
  std::unique_ptr<TlsContext> tls;
  if (!options.tls_cert.empty()) {
    TERNION_ASSIGN_OR_RETURN(tls, TlsContext::Load(options.tls_cert, options.tls_key));
  }
  auto network = std::make_unique<Network>(std::move(options), std::move(tls));
  TERNION_RETURN_IF_ERROR(network->Listen());
  network->Start();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(network)));
}

HttpServer::HttpServer(std::unique_ptr<Network> network) : network_(std::move(network)) {}

HttpServer::~HttpServer() { Stop(); }

uint16_t HttpServer::port() const { return network_->port(); }

void HttpServer::Serve(const ModelService& model) { network_->state().SetModel(model); }

absl::Status HttpServer::Drain(std::chrono::milliseconds limit) {
  ServerState& state = network_->state();
  state.BeginDrain();
  if (state.WaitUntilIdle(limit)) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat(state.running_generations(), " requests still run after ", limit.count(), " ms"));
}

absl::Status HttpServer::ReloadCertificate() {
  TlsContext* tls = network_->state().tls();
  return tls != nullptr ? tls->Reload() : absl::FailedPreconditionError("the server has no certificate");
}

void HttpServer::Stop() { network_->Stop(); }

}  // namespace ternion
