#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/direct_file.h"
#include "runtime/checkpoint/safetensors.h"

namespace ternion {

// What is known of a tensor that was written.
struct WrittenTensor {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<int64_t> shape;
  std::string sha256;

  bool operator==(const WrittenTensor&) const = default;
};

// Writes a safetensors file tensor by tensor, without knowing at the beginning what will come: room for the header is left in
// front. Every tensor begins at a multiple of kAlignment bytes of the file; what lies between is tensors named "pad.N". The
// file has a temporary name until it is whole and on the disk. Data at whole pages of memory is written fastest (DirectFile).
class SafetensorsWriter {
 public:
  static constexpr int64_t kAlignment = DirectFile::kAlignment;

  // `most_tensors`, pads not counted, bounds the header.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(const std::filesystem::path& path,
                                                                   int64_t most_tensors);
  // Removes what was not finished.
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  absl::Status Add(const std::string& name, DType dtype, std::vector<int64_t> shape,
                   absl::Span<const std::byte> data);
  // Writes the header, waits for the disk and gives the file its name. Nothing is added afterwards.
  absl::Status Finish();

  const std::vector<WrittenTensor>& tensors() const { return tensors_; }  // without pads
  int64_t bytes() const { return at_; }                                   // of the file so far

 private:
  SafetensorsWriter(std::filesystem::path path, std::filesystem::path temporary, DirectFile file,
                    int64_t header_bytes)
      : path_(std::move(path)),
        temporary_(std::move(temporary)),
        file_(std::move(file)),
        header_bytes_(header_bytes),
        at_(header_bytes) {}

  void Enter(const std::string& name, DType dtype, const std::vector<int64_t>& shape, int64_t bytes);
  absl::Status Pad();
  // The SHA-256 of what it writes at the end of the file.
  absl::StatusOr<std::string> WriteHashed(absl::Span<const std::byte> data);

  const std::filesystem::path path_;
  const std::filesystem::path temporary_;
  DirectFile file_;
  bool finished_ = false;
  const int64_t header_bytes_;  // the length in front of it among them
  int64_t at_;                  // where the next tensor goes
  int pads_ = 0;
  std::string header_;  // entries so far
  std::vector<WrittenTensor> tensors_;
};

// Writes a small file whole: under a temporary name, then renamed when it is on the disk.
absl::Status WriteWholeFile(const std::filesystem::path& path, std::string_view content);
// Waits until renames within the folder are on the disk.
absl::Status SyncFolder(const std::filesystem::path& folder);

}  // namespace ternion
