#include "runtime/checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/checkpoint/sha256.h"

namespace ternion {
namespace {

constexpr int64_t kPieceBytes = 4 << 20;       // hashed while they lie in the cache, then written
constexpr int64_t kAskBytes = 64 << 20;        // after so many the system is asked to begin writing
constexpr int64_t kHeaderBytesOfTensor = 320;  // with the pad before it
constexpr int64_t kLengthBytes = 8;

int64_t RoundUp(int64_t bytes) {
  constexpr int64_t kUnit = SafetensorsWriter::kAlignment;
  return (bytes + kUnit - 1) / kUnit * kUnit;
}

absl::Status FileError(const std::filesystem::path& path, const char* doing) {
  const int why = errno;
  const bool full = why == ENOSPC || why == EDQUOT || why == EFBIG;
  return absl::Status(absl::ErrnoToStatusCode(why),
                      absl::StrCat(path.string(), ": cannot ", doing, ": ", std::strerror(why),
                                   full ? "; make room there, or name a folder on another disk" : ""));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::filesystem::path& path, int64_t most_tensors) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return FileError(temporary, "write");
  const int64_t header_bytes = RoundUp(kLengthBytes + 256 + most_tensors * kHeaderBytesOfTensor);
  return std::unique_ptr<SafetensorsWriter>(new SafetensorsWriter(path, temporary, file, header_bytes));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ < 0) return;
  close(file_);
  unlink(temporary_.c_str());
}

absl::Status SafetensorsWriter::Add(const std::string& name, DType dtype, std::vector<int64_t> shape,
                                    absl::Span<const std::byte> data) {
  TERNION_RETURN_IF_ERROR(Pad());
  Enter(name, dtype, shape, static_cast<int64_t>(data.size()));
  Sha256 sha;
  for (size_t done = 0; done < data.size(); done += kPieceBytes) {
    const auto piece = data.subspan(done, kPieceBytes);
    sha.Add(piece);
    TERNION_RETURN_IF_ERROR(Write(piece, at_));
    at_ += static_cast<int64_t>(piece.size());
    if (at_ - asked_ < kAskBytes) continue;
    // So that the disk works on while the next weights are made, and the end does not wait for all of it.
    sync_file_range(file_, asked_, at_ - asked_, SYNC_FILE_RANGE_WRITE);
    asked_ = at_;
  }
  tensors_.push_back({name, dtype, std::move(shape), sha.Hex()});
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  std::string text = absl::StrCat(R"({"__metadata__":{"format":"ternion"})", header_, "}");
  CHECK(static_cast<int64_t>(text.size()) <= header_bytes_ - kLengthBytes, "room was left for the header");
  text.resize(static_cast<size_t>(header_bytes_ - kLengthBytes), ' ');
  const uint64_t length = text.size();
  const absl::Span<const std::byte> length_bytes(reinterpret_cast<const std::byte*>(&length), kLengthBytes);
  TERNION_RETURN_IF_ERROR(Write(length_bytes, 0));
  TERNION_RETURN_IF_ERROR(
      Write({reinterpret_cast<const std::byte*>(text.data()), text.size()}, kLengthBytes));
  if (fsync(file_) != 0) return Fail("write");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return Fail("rename");
  close(file_);
  file_ = -1;
  return SyncFolder(path_.parent_path());
}

void SafetensorsWriter::Enter(const std::string& name, DType dtype, const std::vector<int64_t>& shape,
                              int64_t bytes) {
  const int64_t begin = at_ - header_bytes_;
  absl::StrAppend(&header_, R"(,")", name, R"(":{"dtype":")", ToAbsl(DTypeName(dtype)), R"(","shape":[)",
                  absl::StrJoin(shape, ","), R"(],"data_offsets":[)", begin, ",", begin + bytes, "]}");
}

absl::Status SafetensorsWriter::Pad() {
  const int64_t gap = RoundUp(at_) - at_;
  if (gap == 0) return absl::OkStatus();
  Enter(absl::StrCat("pad.", pads_++), DType::kU8, {gap}, gap);
  const std::vector<std::byte> zeros(static_cast<size_t>(gap));
  TERNION_RETURN_IF_ERROR(Write(zeros, at_));
  at_ += gap;
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Write(absl::Span<const std::byte> data, int64_t at) {
  while (!data.empty()) {
    const ssize_t written = pwrite(file_, data.data(), data.size(), at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Fail("write");
    data.remove_prefix(static_cast<size_t>(written));
    at += written;
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Fail(const char* doing) const { return FileError(temporary_, doing); }

absl::Status WriteWholeFile(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return FileError(temporary, "write");
  absl::Status status;
  while (status.ok() && !content.empty()) {
    const ssize_t written = write(file, content.data(), content.size());
    if (written < 0 && errno != EINTR) status = FileError(temporary, "write");
    if (written > 0) content.remove_prefix(static_cast<size_t>(written));
  }
  if (status.ok() && fsync(file) != 0) status = FileError(temporary, "write");
  close(file);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = FileError(path, "rename");
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

absl::Status SyncFolder(const std::filesystem::path& folder) {
  const int opened = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return FileError(folder, "open");
  const int failed = fsync(opened);
  close(opened);
  return failed != 0 && errno != EINVAL ? FileError(folder, "write") : absl::OkStatus();
}

}  // namespace ternion
