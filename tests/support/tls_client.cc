#include "tests/support/tls_client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <utility>

#include "kernels/check.h"

namespace ternion {
namespace {

int Connect(uint16_t port) {
  const int made = socket(AF_INET, SOCK_STREAM, 0);
  const timeval patience{20, 0};
  setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
        "the server listens");
  return made;
}

}  // namespace

TlsClient::TlsClient(uint16_t port, const Options& options) : socket_(Connect(port)) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context_.get(), options.newest_version);
  SSL_CTX_set_cipher_list(context_.get(), "DEFAULT:@SECLEVEL=0");
  ssl_.reset(SSL_new(context_.get()));
  const std::string offered = static_cast<char>(options.protocol.size()) + options.protocol;
  if (!options.protocol.empty()) {
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(offered.data()),
                        static_cast<unsigned int>(offered.size()));
  }
  SSL_set_fd(ssl_.get(), socket_);
  connected_ = SSL_connect(ssl_.get()) == 1;
}

TlsClient::~TlsClient() { close(socket_); }

std::string TlsClient::subject() const {
  const std::unique_ptr<X509, decltype(&X509_free)> cert(SSL_get1_peer_certificate(ssl_.get()), X509_free);
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(cert.get()), NID_commonName, name, sizeof(name));
  return name;
}

std::string TlsClient::protocol() const {
  const unsigned char* name = nullptr;
  unsigned int bytes = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &bytes);
  return bytes == 0 ? "" : std::string(reinterpret_cast<const char*>(name), bytes);
}

std::string TlsClient::version() const { return SSL_get_version(ssl_.get()); }

bool TlsClient::Send(std::string_view bytes) {
  return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
         static_cast<int>(bytes.size());
}

std::string TlsClient::ReadUntil(std::string_view end) {
  char bytes[4096];
  size_t at;
  while ((at = buffer_.find(end)) == buffer_.npos) {
    const int read = SSL_read(ssl_.get(), bytes, sizeof(bytes));
    if (read <= 0) return std::exchange(buffer_, {});
    buffer_.append(bytes, static_cast<size_t>(read));
  }
  std::string taken = buffer_.substr(0, at + end.size());
  buffer_.erase(0, at + end.size());
  return taken;
}

bool TlsClient::ReadsEnd() {
  char byte;
  const int read = SSL_read(ssl_.get(), &byte, 1);
  return buffer_.empty() && SSL_get_error(ssl_.get(), read) == SSL_ERROR_ZERO_RETURN;
}

}  // namespace ternion
