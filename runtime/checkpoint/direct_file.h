#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ternion {

// What the system says of a file (errno), and what to do where its disk is full.
absl::Status FileError(const std::filesystem::path& path, const char* doing);

// A new file for large data, which goes to the disk past the page cache where the filesystem can do that: copies to the cache
// cost more time than making most weights, and the cache's own writing leaves a fast disk idle.
class DirectFile {
 public:
  // Of whole pages: where data lies so both in memory and in the file it can go past the cache.
  static constexpr size_t kAlignment = 4096;

  // Empties a file that is there.
  static absl::StatusOr<DirectFile> Create(const std::filesystem::path& path);
  ~DirectFile() { Close(); }
  DirectFile(DirectFile&& other) noexcept;
  DirectFile& operator=(DirectFile&&) = delete;

  absl::Status Write(absl::Span<const std::byte> data, int64_t at);
  // Waits until all is on the disk.
  absl::Status Sync();
  void Close();

 private:
  DirectFile(std::filesystem::path path, int cached, int direct)
      : path_(std::move(path)), cached_(cached), direct_(direct) {}

  bool GoesDirect(absl::Span<const std::byte> data, int64_t at) const;
  absl::Status WriteDirect(absl::Span<const std::byte> data, int64_t at);
  absl::Status WriteCached(absl::Span<const std::byte> data, int64_t at);

  std::filesystem::path path_;
  int cached_;         // the file, through the page cache
  int direct_;         // the same past it; -1: the filesystem cannot
  int64_t asked_ = 0;  // up to where the system was asked to write the cache to the disk
};

}  // namespace ternion
