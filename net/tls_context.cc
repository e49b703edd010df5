#include "net/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

// ALPN, RFC 7301: the one protocol that is spoken here, after its length.
constexpr std::string_view kProtocols = "\x08http/1.1";

int SelectProtocol(SSL*, const unsigned char** out, unsigned char* out_bytes, const unsigned char* offered,
                   unsigned int offered_bytes, void*) {
  unsigned char* selected = nullptr;
  const int found =
      SSL_select_next_proto(&selected, out_bytes, reinterpret_cast<const unsigned char*>(kProtocols.data()),
                            static_cast<unsigned int>(kProtocols.size()), offered, offered_bytes);
  *out = selected;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

absl::Status FileError(std::string_view what, const std::string& file, const error_code& error) {
  return absl::InvalidArgumentError(absl::StrCat("the TLS ", ToAbsl(what), " ", file, ": ", error.message()));
}

absl::StatusOr<std::shared_ptr<ssl::context>> MakeContext(const std::string& certificate,
                                                          const std::string& key) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native,
                      SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(native, SelectProtocol, nullptr);
  error_code error;
  // Or a key with a password would have it asked for on the terminal.
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
  context->use_certificate_chain_file(certificate, error);
  if (error) return FileError("certificate", certificate, error);
  context->use_private_key_file(key, ssl::context::pem, error);
  if (error) return FileError("key", key, error);
  // Of another kind than the certificate's it is taken for a certificate still to come.
  if (SSL_CTX_check_private_key(native) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        absl::StrCat("the TLS key ", key, " does not belong to the certificate ", certificate));
  }
  return context;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsContext>> TlsContext::Load(std::string certificate, std::string key) {
  std::unique_ptr<TlsContext> tls(new TlsContext(std::move(certificate), std::move(key)));
  TERNION_RETURN_IF_ERROR(tls->Reload());
  return tls;
}

absl::Status TlsContext::Reload() {
  TERNION_ASSIGN_OR_RETURN(auto made, MakeContext(certificate_, key_));
  const std::lock_guard lock(mutex_);
  current_ = std::move(made);
  return absl::OkStatus();
}

std::shared_ptr<ssl::context> TlsContext::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

}  // namespace ternion
