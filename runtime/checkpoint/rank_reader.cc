#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/converted_rank.h"
#include "runtime/checkpoint/digest.h"
#include "runtime/checkpoint/linear_loader.h"
#include "runtime/checkpoint/packed_rows.h"
#include "runtime/checkpoint/packed_uniform_rows.h"

namespace ternion {
namespace {

constexpr size_t kPieceBytes = size_t{8} << 20;

// The code 3 is no trit.
bool HasNoTrit(absl::Span<const std::byte> bytes) {
  uint8_t both = 0;
  for (const std::byte byte : bytes) {
    const auto value = static_cast<uint8_t>(byte);
    both |= value & (value >> 1) & 0x55;
  }
  return both != 0;
}

absl::Status Corrupt(const FileTensor& tensor, const char* what) {
  return absl::DataLossError(
      absl::StrCat(tensor.Where(), ": ", what, "; ternion convert --verify tells what else is wrong"));
}

// A GPU packs its own way.
bool IsCpu(const Backend& backend) { return backend.stream() == nullptr; }

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFile>> OpenRankFile(const std::filesystem::path& path,
                                                              const RankFile& expected) {
  TERNION_ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(path));
  const auto wrong = [&](const std::string& what) {
    return absl::DataLossError(
        absl::StrCat(path.string(), ": ", what, ", unlike what ", kManifestFile, " says"));
  };
  const auto bytes = static_cast<int64_t>(file->size());
  if (bytes != expected.bytes) return wrong(absl::StrCat("has ", bytes, " bytes, not ", expected.bytes));
  std::string samples;
  for (const WrittenTensor& known : expected.tensors) {
    const FileTensor* tensor = file->Find(known.name);
    if (tensor == nullptr) return wrong(absl::StrCat("has no tensor ", known.name));
    if (tensor->dtype != known.dtype || tensor->shape != known.shape) {
      return wrong(absl::StrCat("has ", known.name, " as ", tensor->Form()));
    }
    AppendSamples(tensor->data, samples);
  }
  file->ReleasePages();
  if (HexDigest(samples) != expected.samples) {
    return wrong("has other weights (ternion convert --verify tells which)");
  }
  return file;
}

RankReader::RankReader(const SafetensorsFile& file, TernaryPacking packing, Backend& backend,
                       LoadProgress progress)
    : file_(file), packing_(packing), backend_(backend), progress_(progress) {
  for (const FileTensor& tensor : file.tensors()) total_bytes_ += static_cast<double>(tensor.data.size());
}

absl::Status RankReader::Floats(const std::string& name, int64_t n, Buffer& values) {
  TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, Get(name, DType::kF32, {n}));
  std::vector<float> floats(static_cast<size_t>(n));
  std::memcpy(floats.data(), tensor->data.data(), tensor->data.size());
  if (!std::all_of(floats.begin(), floats.end(), [](float value) { return std::isfinite(value); })) {
    return Corrupt(*tensor, "has a value that is not finite");
  }
  return Copy(*tensor, values);
}

absl::Status RankReader::Table(const std::string& name, int64_t rows, int64_t cols, Buffer& values) {
  TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, Get(name, DType::kBF16, {rows, cols}));
  return Copy(*tensor, values);
}

absl::Status RankReader::Ternary(const std::string& name, TernaryLayout layout, MatrixForm form,
                                 PackedTernary& matrix) {
  TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor,
                           Get(name, DType::kU8, TernaryShape(packing_, layout, form)));
  if (packing_ == TernaryPacking::kCpu && HasNoTrit(tensor->data)) {
    return Corrupt(*tensor, "holds the code 3; a packed trit is 0, 1 or 2");
  }
  if (packing_ != TernaryPacking::kCpu || !IsCpu(backend_)) return Repack(*tensor, layout, form, matrix);
  matrix.layout = layout;
  matrix.outputs = form.outputs;
  matrix.inputs = form.inputs;
  return Copy(*tensor, matrix.data);
}

absl::Status RankReader::Uniform(const std::string& name, const UniformFormat& format, MatrixForm form,
                                 PackedUniform& matrix) {
  if (format.group % kShortSegment != 0) {
    return absl::InvalidArgumentError(absl::StrCat(file_.path().string(), ": tensor ", name, ": groups of ",
                                                   format.group, " channels; the kernels want multiples of ",
                                                   kShortSegment));
  }
  TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, Get(name, DType::kU8, UniformShape(format, form)));
  if (!IsCpu(backend_)) return Repack(*tensor, format, form, matrix);
  matrix.format = format;
  matrix.outputs = form.outputs;
  matrix.inputs = form.inputs;
  return Copy(*tensor, matrix.data);
}

absl::Status RankReader::Dense(const std::string& name, DenseType type, MatrixForm form,
                               DenseMatrix& matrix) {
  const DType dtype = type == DenseType::kFloat16 ? DType::kF16 : DType::kBF16;
  TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, Get(name, dtype, {form.outputs, form.inputs}));
  matrix.type = type;
  matrix.outputs = form.outputs;
  matrix.inputs = form.inputs;
  return Copy(*tensor, matrix.data);
}

absl::StatusOr<const FileTensor*> RankReader::Get(const std::string& name, DType dtype,
                                                  const std::vector<int64_t>& shape) {
  const FileTensor* tensor = file_.Find(name);
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat(file_.path().string(), ": has no tensor ", name,
                                            ", which the model of its config.json has"));
  }
  if (tensor->dtype == dtype && tensor->shape == shape) return tensor;
  FileTensor right = *tensor;
  right.dtype = dtype;
  right.shape = shape;
  return absl::InvalidArgumentError(absl::StrCat(tensor->Where(), ": is ", tensor->Form(),
                                                 "; the model of its config.json has ", right.Form()));
}

absl::Status RankReader::Copy(const FileTensor& tensor, Buffer& buffer) {
  TERNION_ASSIGN_OR_RETURN(buffer, backend_.Allocate(tensor.data.size()));
  for (size_t at = 0; at < tensor.data.size(); at += kPieceBytes) {
    const auto piece = tensor.data.subspan(at, kPieceBytes);
    backend_.CopyFromHost(static_cast<std::byte*>(buffer.data()) + at, piece.data(), piece.size());
    backend_.Synchronize();
    tensor.file->Release(piece);
  }
  Done(tensor);
  return absl::OkStatus();
}

absl::Status RankReader::Repack(const FileTensor& tensor, TernaryLayout layout, MatrixForm form,
                                PackedTernary& matrix) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(tensor.data.data());
  PackedRows rows(layout, form.inputs, bytes);
  const auto read = [&](int64_t output, absl::Span<uint8_t> codes) {
    if (packing_ == TernaryPacking::kCpu) return rows.Read(output, codes);
    UnpackFiveTrits(bytes + output * FiveTritBytes(form.inputs), codes);
  };
  auto packed = backend_.PackTernary(layout, form.outputs, form.inputs, read);
  if (!packed.ok()) return Annotate(packed.status(), tensor.Where());
  matrix = *std::move(packed);
  Done(tensor);
  return absl::OkStatus();
}

absl::Status RankReader::Repack(const FileTensor& tensor, const UniformFormat& format, MatrixForm form,
                                PackedUniform& matrix) {
  const auto* tiles = reinterpret_cast<const uint8_t*>(tensor.data.data());
  const auto read = [&](Range outputs, const UniformRows& rows) {
    ReadPackedUniform(format, form.inputs, tiles, outputs, rows);
  };
  auto packed = backend_.PackUniform(format, form.outputs, form.inputs, read);
  if (!packed.ok()) return Annotate(packed.status(), tensor.Where());
  matrix = *std::move(packed);
  Done(tensor);
  return absl::OkStatus();
}

void RankReader::Done(const FileTensor& tensor) {
  tensor.file->Release(tensor.data);
  done_bytes_ += static_cast<double>(tensor.data.size());
  progress_(std::min(1.0, done_bytes_ / std::max(1.0, total_bytes_)));
}

}  // namespace ternion
