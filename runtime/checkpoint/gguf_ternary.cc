#include "runtime/checkpoint/gguf_ternary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/floats.h"

namespace ternion {
namespace {

constexpr int64_t kMostValues = 256;  // of a block
constexpr uint8_t kZeroCode = 1;      // trit 0
constexpr int64_t kHalfBytes = 2;

using Codes = std::array<uint8_t, kMostValues>;

const uint8_t* BytesOf(const GgufTensor& tensor) {
  return reinterpret_cast<const uint8_t*>(tensor.data.data());
}

class BlockReader final : public TernaryReader {
 public:
  BlockReader(const GgufFile& file, const GgufTensor& tensor, int64_t inputs, float scale)
      : file_(file),
        tensor_(tensor),
        type_(*tensor.type),
        row_blocks_(inputs / type_.values),
        scale_(scale) {}
  // Lets the file's pages go once the matrix is packed.
  ~BlockReader() override { file_.mapped->Release(tensor_.data); }

  float scale() const override { return scale_; }
  std::string Where() const override { return file_.contents.Where(tensor_); }

  // A share may begin and end inside a block.
  void Read(int64_t output, Range inputs, absl::Span<uint8_t> codes) override {
    const uint8_t* row = BytesOf(tensor_) + output * row_blocks_ * type_.bytes;
    uint8_t* out = codes.data();
    for (int64_t at = inputs.begin; at < inputs.end;) {
      const int64_t block = at / type_.values;
      const int64_t end = std::min((block + 1) * type_.values, inputs.end);
      Codes whole;
      type_.decode_trits(row + block * type_.bytes, whole.data());
      out = std::copy_n(whole.data() + at % type_.values, end - at, out);
      at = end;
    }
  }

 private:
  const GgufFile& file_;
  const GgufTensor& tensor_;
  const GgmlType& type_;
  const int64_t row_blocks_;
  const float scale_;
};

class InterleavedReader final : public TernaryReader {
 public:
  InterleavedReader(std::unique_ptr<TernaryReader> reader, int head_dim)
      : reader_(std::move(reader)), head_dim_(head_dim) {}

  float scale() const override { return reader_->scale(); }
  std::string Where() const override { return reader_->Where(); }
  void Read(int64_t output, Range inputs, absl::Span<uint8_t> codes) override {
    const int64_t half = head_dim_ / 2;
    const int64_t row = output % head_dim_;
    reader_->Read(output - row + 2 * (row % half) + row / half, inputs, codes);
  }

 private:
  const std::unique_ptr<TernaryReader> reader_;
  const int head_dim_;
};

bool IsZero(const GgmlType& type, const uint8_t* block) {
  Codes codes;
  type.decode_trits(block, codes.data());
  return std::all_of(codes.begin(), codes.begin() + type.values,
                     [](uint8_t code) { return code == kZeroCode; });
}

uint16_t ScaleBits(const GgmlType& type, const uint8_t* block) {
  uint16_t bits;
  std::memcpy(&bits, block + type.bytes - kHalfBytes, sizeof(bits));
  return bits;
}

// The fp16 scales at the ends of the blocks, compared by their bits.
absl::StatusOr<float> ScaleOfBlocks(const GgufTensor& tensor) {
  const GgmlType& type = *tensor.type;
  const uint8_t* const begin = BytesOf(tensor);
  const uint8_t* const end = begin + tensor.data.size();
  const uint8_t* first = nullptr;  // block that is not zero
  for (const uint8_t* block = begin; block < end; block += type.bytes) {
    if (first != nullptr && ScaleBits(type, block) == ScaleBits(type, first)) continue;
    if (IsZero(type, block)) continue;
    if (first != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "block ", (first - begin) / type.bytes, " has the scale ", FromHalf(ScaleBits(type, first)),
          " and block ", (block - begin) / type.bytes, " has ", FromHalf(ScaleBits(type, block)),
          "; a BitNet matrix has one scale in all blocks, so this one was quantized from other weights"));
    }
    first = block;
  }
  if (first != nullptr) return FromHalf(ScaleBits(type, first));
  return absl::InvalidArgumentError(
      "all its weights are zero: the file is broken, take another upload of it");
}

float ScaleOfTail(const GgufTensor& tensor) {
  float scale;
  std::memcpy(&scale, BytesOf(tensor) + tensor.data.size() - tensor.type->tail_bytes, sizeof(scale));
  return scale;
}

}  // namespace

absl::StatusOr<float> GgufScale(const Gguf& gguf, const GgufTensor& tensor) {
  const absl::StatusOr<float> scale =
      tensor.type->number == kGgmlI2S ? ScaleOfTail(tensor) : ScaleOfBlocks(tensor);
  if (!scale.ok()) {
    return absl::Status(scale.status().code(),
                        absl::StrCat(gguf.Where(tensor), ": ", scale.status().message()));
  }
  if (std::isfinite(*scale) && *scale > 0) return *scale;
  return absl::DataLossError(
      absl::StrCat(gguf.Where(tensor), ": its scale is ", *scale, "; it must be finite and positive"));
}

absl::StatusOr<std::unique_ptr<TernaryReader>> MakeGgufReader(const GgufFile& file, const GgufTensor& tensor,
                                                              int64_t outputs, int64_t inputs, float factor) {
  const std::array<int64_t, 2> shape = {outputs, inputs};
  if (tensor.type->decode_trits == nullptr || tensor.shape() != absl::MakeConstSpan(shape)) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.contents.Where(tensor), ": is ", tensor.Form(),
        "; a linear layer of this model must be I2_S, TQ1_0 or TQ2_0 [", outputs, ", ", inputs, "]"));
  }
  TERNION_ASSIGN_OR_RETURN(const float scale, GgufScale(file.contents, tensor));
  return std::make_unique<BlockReader>(file, tensor, inputs, scale * factor);
}

std::unique_ptr<TernaryReader> HalvesOfInterleaved(std::unique_ptr<TernaryReader> reader, int head_dim) {
  return std::make_unique<InterleavedReader>(std::move(reader), head_dim);
}

}  // namespace ternion
