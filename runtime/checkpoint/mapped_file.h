#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ternion {

// A file's bytes, mapped for reading. Pages come into memory when they are read, and leave it with Release.
class MappedFile {
 public:
  // kNotFound, kPermissionDenied and the like; kInvalidArgument when it is not a plain file.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  absl::Span<const std::byte> bytes() const { return {data_, size_}; }

  // Takes the pages of `part` out of this process's memory; a later read brings them back.
  void Release(absl::Span<const std::byte> part) const;

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::filesystem::path path_;
  const std::byte* data_;  // null when the file is empty
  size_t size_;
};

// A whole file of at most `most_bytes` as text. Errors as MappedFile::Open; kInvalidArgument when it is
// larger.
absl::StatusOr<std::string> ReadTextFile(const std::filesystem::path& path, size_t most_bytes);

}  // namespace ternion
