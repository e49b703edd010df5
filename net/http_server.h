#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "net/model_service.h"
#include "net/server_options.h"

namespace ternion {

// The OpenAI-compatible HTTP server. Its threads never touch the engine but through the Generator.
class HttpServer {
 public:
  // Takes the port, so that a taken one is known before weights are loaded, and answers at once: until Serve,
  // /health and requests for the model get 503. Errors name host and port, or the file of a certificate, and say what
  // would be right.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Bind(ServerOptions options);
  // Stops.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  // The model is there. What it borrows must live until Stop has returned.
  void Serve(const ModelService& model);
  // From now on /health and new generations get 503; waits for those that run. kDeadlineExceeded when some
  // still ran after `limit`.
  absl::Status Drain(std::chrono::milliseconds limit);
  // Reads the certificate and its key again, for the connections to come. On an error (kInvalidArgument names the file)
  // those that were there go on to be shown. kFailedPrecondition without TLS.
  absl::Status ReloadCertificate();
  // Closes every connection, cancels what runs, and waits for the threads. Drain first to let clients finish.
  void Stop();

 private:
  class Network;
  explicit HttpServer(std::unique_ptr<Network> network);

  std::unique_ptr<Network> network_;
};

}  // namespace ternion
