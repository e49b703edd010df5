#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/mapped_file.h"

namespace ternion {

enum class DType : uint8_t { kF32, kF16, kBF16, kU8, kI8, kI32, kI64 };
std::string_view DTypeName(DType dtype);  // as in safetensors: "BF16"
size_t DTypeBytes(DType dtype);

// A tensor in a file, row-major. Borrows from the file, which must outlive it. `data` may be unaligned.
struct FileTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  absl::Span<const std::byte> data;
  const MappedFile* file = nullptr;

  int64_t size() const { return static_cast<int64_t>(data.size() / DTypeBytes(dtype)); }
  // "FILE: tensor NAME", the beginning of an error message.
  std::string Where() const;
  // "U8 [640, 2560]".
  std::string Form() const;
};

// A safetensors file: 8 bytes of header length (little-endian), a JSON header, the data. The reader is strict
// (docs/numerics.md, Formats): header at most 100 MB, sizes as shape and dtype say, the tensors' bytes
// adjoining from 0 to the end of the file, no name twice.
class SafetensorsFile {
 public:
  // Errors as MappedFile::Open; kDataLoss, naming the file and the tensor, when it is malformed.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_->path(); }
  const std::vector<FileTensor>& tensors() const { return tensors_; }  // by name
  size_t size() const { return file_->bytes().size(); }
  void ReleasePages() const { file_->Release(file_->bytes()); }
  // Null when there is none.
  const FileTensor* Find(std::string_view name) const;

 private:
  explicit SafetensorsFile(std::unique_ptr<MappedFile> file) : file_(std::move(file)) {}
  absl::Status ReadHeader();

  std::unique_ptr<MappedFile> file_;
  std::vector<FileTensor> tensors_;
};

}  // namespace ternion
