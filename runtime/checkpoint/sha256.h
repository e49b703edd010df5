#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ternion {

// SHA-256 (FIPS 180-4) of bytes that come in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();

  void Add(absl::Span<const std::byte> bytes);
  // Sixty-four hex digits; nothing is added afterwards.
  std::string Hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Of(std::string_view text);
// Of a whole file, a piece at a time; `read` is told of each piece's bytes. Errors as MappedFile::Open.
absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path,
                                         absl::FunctionRef<void(size_t bytes)> read);

}  // namespace ternion
