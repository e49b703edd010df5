#include "net/client_stream.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <spdlog/spdlog.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace ternion {
namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

}  // namespace

ClientStream::ClientStream(Socket socket, std::shared_ptr<ssl::context> tls)
    : tls_(std::move(tls)), plain_(std::move(socket)) {
  if (tls_ != nullptr) secure_ = std::make_unique<ssl::stream<Socket>>(std::move(plain_), *tls_);
}

asio::awaitable<ClientStream::Handshaking> ClientStream::Handshake() {
  if (secure_ == nullptr) co_return Handshaking::kDone;
  const auto [error] = co_await secure_->async_handshake(ssl::stream_base::server, kAwait);
  if (!error) co_return Handshaking::kDone;
  spdlog::debug("a TLS handshake failed: {}", error.message());
  const bool plain = error.category() == asio::error::get_ssl_category() &&
                     ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;
  DropTls();
  co_return plain ? Handshaking::kPlainHttp : Handshaking::kFailed;
}

asio::awaitable<void> ClientStream::EndTls() {
  if (secure_ == nullptr) co_return;
  co_await secure_->async_shutdown(kAwait);
  DropTls();
}

void ClientStream::DropTls() {
  plain_ = std::move(secure_->next_layer());
  secure_.reset();
}

}  // namespace ternion
