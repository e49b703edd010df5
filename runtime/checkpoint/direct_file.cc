#include "runtime/checkpoint/direct_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

constexpr size_t kDirectBytes = size_t{1} << 20;  // less is not worth a wait for the disk
constexpr int64_t kAskBytes = int64_t{64} << 20;  // after so many the system is asked to begin writing

// Takes what was written off the front of the rest.
void Advance(size_t written, absl::Span<const std::byte>& data, int64_t& at) {
  data.remove_prefix(written);
  at += static_cast<int64_t>(written);
}

}  // namespace

absl::Status FileError(const std::filesystem::path& path, const char* doing) {
  const int why = errno;
  const bool full = why == ENOSPC || why == EDQUOT || why == EFBIG;
  return absl::Status(absl::ErrnoToStatusCode(why),
                      absl::StrCat(path.string(), ": cannot ", doing, ": ", std::strerror(why),
                                   full ? "; make room there, or name a folder on another disk" : ""));
}

absl::StatusOr<DirectFile> DirectFile::Create(const std::filesystem::path& path) {
  const int cached = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (cached < 0) return FileError(path, "write");
  return DirectFile(path, cached, open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
}

DirectFile::DirectFile(DirectFile&& other) noexcept
    : path_(std::move(other.path_)),
      cached_(std::exchange(other.cached_, -1)),
      direct_(std::exchange(other.direct_, -1)),
      asked_(other.asked_) {}

void DirectFile::Close() {
  if (direct_ >= 0) close(std::exchange(direct_, -1));
  if (cached_ >= 0) close(std::exchange(cached_, -1));
}

absl::Status DirectFile::Write(absl::Span<const std::byte> data, int64_t at) {
  if (!GoesDirect(data, at)) return WriteCached(data, at);
  const size_t pages = data.size() / kAlignment * kAlignment;
  TERNION_RETURN_IF_ERROR(WriteDirect(data.first(pages), at));
  return WriteCached(data.subspan(pages), at + static_cast<int64_t>(pages));
}

absl::Status DirectFile::Sync() { return fsync(cached_) == 0 ? absl::OkStatus() : FileError(path_, "write"); }

bool DirectFile::GoesDirect(absl::Span<const std::byte> data, int64_t at) const {
  return direct_ >= 0 && data.size() >= kDirectBytes && at % static_cast<int64_t>(kAlignment) == 0 &&
         reinterpret_cast<uintptr_t>(data.data()) % kAlignment == 0;
}

absl::Status DirectFile::WriteDirect(absl::Span<const std::byte> data, int64_t at) {
  while (!data.empty()) {
    const ssize_t written = pwrite(direct_, data.data(), data.size(), at);
    if (written < 0 && errno == EINTR) continue;
    // A disk with larger blocks than pages, or a write that ended within a block.
    if (written < 0 && errno == EINVAL) return WriteCached(data, at);
    if (written < 0) return FileError(path_, "write");
    Advance(static_cast<size_t>(written), data, at);
  }
  return absl::OkStatus();
}

absl::Status DirectFile::WriteCached(absl::Span<const std::byte> data, int64_t at) {
  while (!data.empty()) {
    const ssize_t written = pwrite(cached_, data.data(), std::min(data.size(), size_t{kAskBytes}), at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(path_, "write");
    Advance(static_cast<size_t>(written), data, at);
    if (at - asked_ < kAskBytes) continue;
    // So that the disk works on while the next weights are made, and the end does not wait for all of it.
    sync_file_range(cached_, asked_, at - asked_, SYNC_FILE_RANGE_WRITE);
    asked_ = at;
  }
  return absl::OkStatus();
}

}  // namespace ternion
