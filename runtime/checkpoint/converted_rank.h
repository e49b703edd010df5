#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/converted_manifest.h"
#include "runtime/checkpoint/direct_file.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "runtime/checkpoint/stage_walk.h"

namespace ternion {

// The forms of matrices in a rank's file.
std::vector<int64_t> TernaryShape(TernaryPacking packing, TernaryLayout layout, MatrixForm form);
std::vector<int64_t> UniformShape(const UniformFormat& format, MatrixForm form);

// Writes what a walk shows it to a rank's file.
class RankWriter final : public WeightVisitor {
 public:
  RankWriter(SafetensorsWriter& file, TernaryPacking packing) : file_(file), packing_(packing) {}

  absl::Status Floats(const std::string& name, int64_t n, Buffer& values) override;
  absl::Status Table(const std::string& name, int64_t rows, int64_t cols, Buffer& values) override;
  absl::Status Ternary(const std::string& name, TernaryLayout layout, MatrixForm form,
                       PackedTernary& matrix) override;
  absl::Status Uniform(const std::string& name, const UniformFormat& format, MatrixForm form,
                       PackedUniform& matrix) override;
  absl::Status Dense(const std::string& name, DenseType type, MatrixForm form, DenseMatrix& matrix) override;

  // RankFile::samples of what was written.
  std::string Samples() const;

 private:
  struct alignas(DirectFile::kAlignment) Page {
    uint8_t bytes[DirectFile::kAlignment];
  };

  // As five trits a byte: [outputs, FiveTritBytes(inputs)], until the next is packed.
  absl::Span<const std::byte> PackFiveTrits(const PackedTernary& matrix);
  absl::Status Add(const std::string& name, DType dtype, std::vector<int64_t> shape,
                   absl::Span<const std::byte> data);

  SafetensorsWriter& file_;
  const TernaryPacking packing_;
  std::string samples_;
  std::vector<Page> packed_;  // kept, because new memory costs more than packing
};

// Opens a rank's file and compares it with what the manifest says: its size, every tensor's name, type and shape, and a
// sample of its bytes. kDataLoss, kNotFound, naming the file.
absl::StatusOr<std::unique_ptr<SafetensorsFile>> OpenRankFile(const std::filesystem::path& path,
                                                              const RankFile& expected);

// Fills what a walk shows it from a rank's file. kDataLoss, kInvalidArgument, kNotFound, kResourceExhausted.
class RankReader final : public WeightVisitor {
 public:
  RankReader(const SafetensorsFile& file, TernaryPacking packing, Backend& backend, LoadProgress progress);

  absl::Status Floats(const std::string& name, int64_t n, Buffer& values) override;
  absl::Status Table(const std::string& name, int64_t rows, int64_t cols, Buffer& values) override;
  absl::Status Ternary(const std::string& name, TernaryLayout layout, MatrixForm form,
                       PackedTernary& matrix) override;
  absl::Status Uniform(const std::string& name, const UniformFormat& format, MatrixForm form,
                       PackedUniform& matrix) override;
  absl::Status Dense(const std::string& name, DenseType type, MatrixForm form, DenseMatrix& matrix) override;

 private:
  absl::StatusOr<const FileTensor*> Get(const std::string& name, DType dtype,
                                        const std::vector<int64_t>& shape);
  absl::Status Copy(const FileTensor& tensor, Buffer& buffer);
  absl::Status Repack(const FileTensor& tensor, TernaryLayout layout, MatrixForm form, PackedTernary& matrix);
  absl::Status Repack(const FileTensor& tensor, const UniformFormat& format, MatrixForm form,
                      PackedUniform& matrix);
  void Done(const FileTensor& tensor);

  const SafetensorsFile& file_;
  const TernaryPacking packing_;
  Backend& backend_;
  LoadProgress progress_;
  double done_bytes_ = 0;
  double total_bytes_ = 0;
};

}  // namespace ternion
