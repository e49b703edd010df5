#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ternion {

// A blocking TLS client for one server on this machine. It takes any certificate. Reads give up after 20 seconds.
class TlsClient {
 public:
  struct Options {
    int newest_version = TLS1_3_VERSION;
    std::string protocol = "http/1.1";  // ALPN; "": none is offered
  };

  explicit TlsClient(uint16_t port) : TlsClient(port, Options{}) {}
  TlsClient(uint16_t port, const Options& options);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool connected() const { return connected_; }  // the handshake is done
  std::string subject() const;                   // common name of the server's certificate
  std::string protocol() const;                  // that ALPN has chosen
  std::string version() const;

  bool Send(std::string_view bytes);
  // Up to and with `end`; less when the server closes first.
  std::string ReadUntil(std::string_view end);
  // True when the server says goodbye (close_notify) without another byte.
  bool ReadsEnd();

 private:
  int socket_ = -1;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, SSL_free};
  bool connected_ = false;
  std::string buffer_;
};

}  // namespace ternion
