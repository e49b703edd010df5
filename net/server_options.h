#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ternion {

// How the HTTP server listens and where its limits lie. Every limit is checked before memory is spent on a
// request.
struct ServerOptions {
  std::string host = "0.0.0.0";  // an address or a name; "" is every IPv6 and IPv4 address
  uint16_t port = 8000;          // 0: a free one
  std::string served_model_name;
  std::string version;                // what GET /version tells
  std::vector<std::string> api_keys;  // none: everybody may ask
  std::string tls_cert, tls_key;      // PEM files; empty: no TLS
  int threads = 2;
  bool metrics_open = false;              // /metrics needs no key
  std::vector<std::string> cors_origins;  // of web pages that may read the answers (net/cors.h)

  size_t max_connections = 10000;
  size_t max_body_bytes = 8u << 20;
  size_t max_header_bytes = 16u << 10;

  // Of tokens that wait for a stream's client to read; with more the client is dropped and its request cancelled.
  size_t max_buffered_bytes = 1u << 20;
  // Of the operating system, for bytes on their way to one client.
  int send_buffer_bytes = 256 << 10;

  std::chrono::milliseconds handshake_timeout{10'000};  // of TLS
  std::chrono::milliseconds request_timeout{30'000};    // from a request's first byte to its last
  std::chrono::milliseconds idle_timeout{75'000};       // between two requests of a connection
  std::chrono::milliseconds write_timeout{60'000};      // a client that takes no byte for so long is dropped
  std::chrono::milliseconds keep_alive{15'000};  // a stream without a token for so long gets an SSE comment
};

}  // namespace ternion
