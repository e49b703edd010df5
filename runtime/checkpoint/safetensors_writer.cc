#include "runtime/checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/checkpoint/sha256.h"

namespace ternion {
namespace {

constexpr size_t kApartBytes = 1 << 20;  // so many are worth a thread that writes them while they are hashed
constexpr int64_t kHeaderBytesOfTensor = 320;  // with the pad before it
constexpr int64_t kLengthBytes = 8;

int64_t RoundUp(int64_t bytes) {
  constexpr int64_t kUnit = SafetensorsWriter::kAlignment;
  return (bytes + kUnit - 1) / kUnit * kUnit;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::filesystem::path& path, int64_t most_tensors) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  TERNION_ASSIGN_OR_RETURN(DirectFile file, DirectFile::Create(temporary));
  const int64_t header_bytes = RoundUp(kLengthBytes + 256 + most_tensors * kHeaderBytesOfTensor);
  return std::unique_ptr<SafetensorsWriter>(
      new SafetensorsWriter(path, temporary, std::move(file), header_bytes));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (!finished_) unlink(temporary_.c_str());
}

absl::Status SafetensorsWriter::Add(const std::string& name, DType dtype, std::vector<int64_t> shape,
                                    absl::Span<const std::byte> data) {
  TERNION_RETURN_IF_ERROR(Pad());
  Enter(name, dtype, shape, static_cast<int64_t>(data.size()));
  TERNION_ASSIGN_OR_RETURN(std::string sha256, WriteHashed(data));
  at_ += static_cast<int64_t>(data.size());
  tensors_.push_back({name, dtype, std::move(shape), std::move(sha256)});
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  std::string text = absl::StrCat(R"({"__metadata__":{"format":"ternion"})", header_, "}");
  CHECK(static_cast<int64_t>(text.size()) <= header_bytes_ - kLengthBytes, "room was left for the header");
  text.resize(static_cast<size_t>(header_bytes_ - kLengthBytes), ' ');
  const uint64_t length = text.size();
  const absl::Span<const std::byte> length_bytes(reinterpret_cast<const std::byte*>(&length), kLengthBytes);
  TERNION_RETURN_IF_ERROR(file_.Write(length_bytes, 0));
  TERNION_RETURN_IF_ERROR(
      file_.Write({reinterpret_cast<const std::byte*>(text.data()), text.size()}, kLengthBytes));
  TERNION_RETURN_IF_ERROR(file_.Sync());
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return FileError(temporary_, "rename");
  finished_ = true;
  file_.Close();
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
  TERNION_RETURN_IF_ERROR(file_.Write(zeros, at_));
  at_ += gap;
  return absl::OkStatus();
}

absl::StatusOr<std::string> SafetensorsWriter::WriteHashed(absl::Span<const std::byte> data) {
  const auto policy = data.size() < kApartBytes ? std::launch::deferred : std::launch::async;
  std::future<absl::Status> written = std::async(policy, [&] { return file_.Write(data, at_); });
  Sha256 sha;
  sha.Add(data);
  TERNION_RETURN_IF_ERROR(written.get());
  return sha.Hex();
}

absl::Status WriteWholeFile(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  TERNION_ASSIGN_OR_RETURN(DirectFile file, DirectFile::Create(temporary));
  absl::Status status = file.Write({reinterpret_cast<const std::byte*>(content.data()), content.size()}, 0);
  if (status.ok()) status = file.Sync();
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
