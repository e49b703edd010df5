#include "parallel/control_proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/control_channel.h"

namespace ternion {
namespace {

std::string HmacSha256(std::string_view key, std::string_view message) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(message.data());
  const unsigned char* const made =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes, message.size(), digest, &length);
  CHECK(made != nullptr && length == kProofBytes, "libcrypto makes an HMAC-SHA256");
  return std::string(reinterpret_cast<const char*>(digest), length);
}

}  // namespace

absl::StatusOr<std::string> MakeNonce() {
  std::string nonce(kNonceBytes, '\0');
  if (getrandom(nonce.data(), nonce.size(), 0) != static_cast<ssize_t>(nonce.size())) {
    return absl::ErrnoToStatus(errno, "getrandom gives no random bytes");
  }
  return nonce;
}

absl::StatusOr<std::string> MakeControlSecret() { return MakeNonce(); }

std::string ClientProof(std::string_view secret, std::string_view server_nonce, std::string_view client_nonce,
                        uint32_t rank) {
  std::string message = absl::StrCat("ternion client", ToAbsl(server_nonce), ToAbsl(client_nonce));
  AppendUint32(rank, message);
  return HmacSha256(secret, message);
}

std::string ServerProof(std::string_view secret, std::string_view client_nonce,
                        std::string_view server_nonce) {
  return HmacSha256(secret, absl::StrCat("ternion server", ToAbsl(client_nonce), ToAbsl(server_nonce)));
}

bool SameProof(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string ClientHello(std::string_view secret, std::string_view server_nonce, std::string_view client_nonce,
                        uint32_t rank) {
  std::string hello;
  AppendUint32(rank, hello);
  return absl::StrCat(hello, ToAbsl(client_nonce), ClientProof(secret, server_nonce, client_nonce, rank));
}

void AppendUint32(uint32_t value, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

uint32_t ReadUint32(const char* bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

}  // namespace ternion
