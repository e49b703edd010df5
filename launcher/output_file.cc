#include "launcher/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Open(std::string_view option,
                                                             const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat(ToAbsl(option), " ", path, " is a folder; name a file"));
  }
  const bool special =
      std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored);
  const std::string temporary = special ? "" : absl::StrCat(path, ".", getpid(), ".tmp");
  const std::string& written = special ? path : temporary;
  const int file = open(written.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) {
    return absl::InvalidArgumentError(absl::StrCat(ToAbsl(option), " ", path, ": cannot write ", written,
                                                   ": ", std::strerror(errno),
                                                   "; name a file in a folder that is there"));
  }
  return std::unique_ptr<OutputFile>(new OutputFile(path, temporary, file));
}

OutputFile::~OutputFile() {
  if (file_ < 0) return;
  close(file_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

absl::Status OutputFile::Fail(std::string_view doing) const {
  const int why = errno;
  const bool full = why == ENOSPC || why == EDQUOT || why == EFBIG;
  return absl::Status(absl::ErrnoToStatusCode(why),
                      absl::StrCat("cannot ", ToAbsl(doing), " ", path_, ": ", std::strerror(why),
                                   full ? "; make room there, or name a file on another disk" : ""));
}

absl::Status OutputFile::Append(std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(file_, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Fail("write");
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Commit(std::string_view content) {
  TERNION_RETURN_IF_ERROR(Append(content));
  // Some file systems tell only here that there was no room.
  if (fsync(file_) != 0 && errno != EINVAL) return Fail("write");
  if (!temporary_.empty() && rename(temporary_.c_str(), path_.c_str()) != 0)
    return Fail("rename the finished file to");
  close(file_);
  file_ = -1;
  return absl::OkStatus();
}

}  // namespace ternion
