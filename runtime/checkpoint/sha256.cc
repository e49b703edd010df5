#include "runtime/checkpoint/sha256.h"

#include <openssl/evp.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/checkpoint/mapped_file.h"

namespace ternion {
namespace {

constexpr size_t kPieceBytes = size_t{8} << 20;

}  // namespace

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  Context() {
    CHECK(evp != nullptr && EVP_DigestInit_ex(evp, EVP_sha256(), nullptr) == 1, "OpenSSL has SHA-256");
  }
  ~Context() { EVP_MD_CTX_free(evp); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;

void Sha256::Add(absl::Span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1, "SHA-256 takes any bytes");
}

std::string Sha256::Hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_DigestFinal_ex(context_->evp, digest, &size) == 1, "a SHA-256 ends once");
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest), size});
}

std::string Sha256Of(std::string_view text) {
  Sha256 sha;
  sha.Add({reinterpret_cast<const std::byte*>(text.data()), text.size()});
  return sha.Hex();
}

absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path,
                                         absl::FunctionRef<void(size_t bytes)> read) {
  TERNION_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  Sha256 sha;
  for (size_t at = 0; at < file->bytes().size(); at += kPieceBytes) {
    const auto piece = file->bytes().subspan(at, kPieceBytes);
    sha.Add(piece);
    file->Release(piece);
    read(piece.size());
  }
  return sha.Hex();
}

}  // namespace ternion
