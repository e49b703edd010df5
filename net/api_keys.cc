#include "net/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "absl/strings/match.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {

ApiKeys::Digest ApiKeys::DigestOf(std::string_view key) {
  Digest digest;
  CHECK(EVP_Digest(key.data(), key.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1,
        "SHA-256 is not available");
  return digest;
}

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) digests_.push_back(DigestOf(key));
}

bool ApiKeys::Allow(std::string_view authorization) const {
  constexpr std::string_view kScheme = "bearer ";
  if (digests_.empty()) return true;
  if (!absl::StartsWithIgnoreCase(ToAbsl(authorization), ToAbsl(kScheme))) return false;
  authorization.remove_prefix(kScheme.size());
  const Digest presented = DigestOf(authorization);
  bool allowed = false;
  for (const Digest& digest : digests_) {
    allowed |= CRYPTO_memcmp(presented.data(), digest.data(), digest.size()) == 0;
  }
  return allowed;
}

}  // namespace ternion
