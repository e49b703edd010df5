#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/ggml_types.h"
#include "runtime/checkpoint/gguf_metadata.h"
#include "runtime/checkpoint/mapped_file.h"

namespace ternion {

// A tensor of a GGUF file. Borrows the file's bytes.
struct GgufTensor {
  static constexpr int kMostDimensions = 4;

  std::string_view name;
  const GgmlType* type = nullptr;
  int dimensions = 0;
  std::array<int64_t, kMostDimensions> sides =
      {};                            // row-major, as everywhere here; the file has them reversed
  absl::Span<const std::byte> data;  // whole blocks, then the type's tail

  absl::Span<const int64_t> shape() const { return {sides.data(), static_cast<size_t>(dimensions)}; }
  std::string Form() const;  // "TQ2_0 [640, 2560]"
};

// The contents of a GGUF file, version 2 or 3, little-endian (docs/numerics.md, GGUF). The reader is strict: whatever
// the file says of its own sizes is compared with the bytes that are there before anything is allocated or read, and
// the tensors' bytes adjoin in the order of their list, each padded to the alignment, up to the end of the file.
class Gguf {
 public:
  // `bytes` outlive the result; `where` names them in errors. kDataLoss when they are malformed; kUnimplemented: other
  // versions, big-endian files. A pure function of the bytes.
  static absl::StatusOr<Gguf> Parse(absl::Span<const std::byte> bytes, std::string_view where);

  const std::string& where() const { return where_; }
  const GgufMetadata& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // by name
  const GgufTensor* Find(std::string_view name) const;                 // null when there is none
  std::string Where(const GgufTensor& tensor) const;                   // "FILE: tensor NAME", for errors

 private:
  Gguf(std::string_view where, GgufMetadata metadata) : where_(where), metadata_(std::move(metadata)) {}

  std::string where_;
  GgufMetadata metadata_;
  std::vector<GgufTensor> tensors_;
};

// A GGUF file on the disk.
struct GgufFile {
  // Errors as MappedFile::Open and Gguf::Parse.
  static absl::StatusOr<GgufFile> Open(const std::filesystem::path& path);

  std::unique_ptr<MappedFile> mapped;
  Gguf contents;
};

// A GGUF file of the same metadata and no tensors: what a tokenizer needs. Errors as GgufFile::Open.
absl::StatusOr<std::string> GgufMetadataAlone(const GgufFile& file);

}  // namespace ternion
