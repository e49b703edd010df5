#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/ternary_layout.h"
#include "kernels/cpu/uniform_layout.h"
#include "kernels/status.h"
#include "runtime/checkpoint/converted_rank.h"
#include "runtime/checkpoint/digest.h"
#include "runtime/checkpoint/packed_rows.h"

namespace ternion {
namespace {

absl::Span<const std::byte> BytesOf(const Buffer& buffer) {
  return {static_cast<const std::byte*>(buffer.data()), buffer.bytes()};
}

}  // namespace

std::vector<int64_t> TernaryShape(TernaryPacking packing, TernaryLayout layout, MatrixForm form) {
  if (packing == TernaryPacking::kFiveTrits) return {form.outputs, FiveTritBytes(form.inputs)};
  if (layout == TernaryLayout::kByOutput) {
    return {form.outputs, cpu::RowGroups(form.inputs), cpu::kLineBytes};
  }
  return {cpu::Strips(form.outputs), form.inputs, cpu::kLineBytes};
}

std::vector<int64_t> UniformShape(const UniformFormat& format, MatrixForm form) {
  return {cpu::UniformTiles(form.outputs), cpu::LayoutOf(format, form.inputs).TileBytes()};
}

absl::Status RankWriter::Floats(const std::string& name, int64_t n, Buffer& values) {
  return Add(name, DType::kF32, {n}, BytesOf(values));
}

absl::Status RankWriter::Table(const std::string& name, int64_t rows, int64_t cols, Buffer& values) {
  return Add(name, DType::kBF16, {rows, cols}, BytesOf(values));
}

absl::Status RankWriter::Ternary(const std::string& name, TernaryLayout layout, MatrixForm form,
                                 PackedTernary& matrix) {
  CHECK(matrix.layout == layout && matrix.outputs == form.outputs && matrix.inputs == form.inputs,
        "a matrix has the form that config and grid give it");
  std::vector<int64_t> shape = TernaryShape(packing_, layout, form);
  if (packing_ == TernaryPacking::kCpu) return Add(name, DType::kU8, std::move(shape), BytesOf(matrix.data));
  return Add(name, DType::kU8, std::move(shape), PackFiveTrits(matrix));
}

absl::Span<const std::byte> RankWriter::PackFiveTrits(const PackedTernary& matrix) {
  const int64_t row_bytes = FiveTritBytes(matrix.inputs);
  const auto bytes = static_cast<size_t>(matrix.outputs * row_bytes);
  packed_.resize(std::max(packed_.size(), bytes / sizeof(Page) + 1));
  auto* const packed = reinterpret_cast<uint8_t*>(packed_.data());
  std::vector<uint8_t> codes(static_cast<size_t>(matrix.inputs));
  PackedRows rows(matrix.layout, matrix.inputs, static_cast<const uint8_t*>(matrix.data.data()));
  for (int64_t output = 0; output < matrix.outputs; ++output) {
    rows.Read(output, absl::MakeSpan(codes));
    ternion::PackFiveTrits(codes, packed + output * row_bytes);
  }
  return {reinterpret_cast<const std::byte*>(packed), bytes};
}

absl::Status RankWriter::Uniform(const std::string& name, const UniformFormat& format, MatrixForm form,
                                 PackedUniform& matrix) {
  CHECK(matrix.format == format && matrix.outputs == form.outputs && matrix.inputs == form.inputs,
        "a matrix has the form that config and grid give it");
  return Add(name, DType::kU8, UniformShape(format, form), BytesOf(matrix.data));
}

absl::Status RankWriter::Dense(const std::string& name, DenseType type, MatrixForm form,
                               DenseMatrix& matrix) {
  CHECK(matrix.type == type && matrix.outputs == form.outputs && matrix.inputs == form.inputs,
        "a matrix has the form that config and grid give it");
  const DType dtype = type == DenseType::kFloat16 ? DType::kF16 : DType::kBF16;
  return Add(name, dtype, {form.outputs, form.inputs}, BytesOf(matrix.data));
}

std::string RankWriter::Samples() const { return HexDigest(samples_); }

absl::Status RankWriter::Add(const std::string& name, DType dtype, std::vector<int64_t> shape,
                             absl::Span<const std::byte> data) {
  auto bytes = static_cast<int64_t>(DTypeBytes(dtype));
  for (const int64_t side : shape) bytes *= side;
  CHECK(bytes == static_cast<int64_t>(data.size()), "a buffer is as large as its form says");
  AppendSamples(data, samples_);
  return file_.Add(name, dtype, std::move(shape), data);
}

}  // namespace ternion
