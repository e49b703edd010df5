#include "runtime/checkpoint/ternary_readers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/floats.h"

namespace ternion {
namespace {

constexpr float kLeastMean = 1e-5f;
constexpr int64_t kChunk = 1 << 20;  // elements of a float matrix that are in memory at a time

// Lets the file's pages go once the matrix is packed.
class FileReader : public TernaryReader {
 public:
  FileReader(const FileTensor& weight, int64_t inputs, float scale)
      : weight_(weight), inputs_(inputs), scale_(scale) {}
  ~FileReader() override { weight_.file->Release(weight_.data); }
  float scale() const final { return scale_; }
  std::string Where() const final { return weight_.Where(); }

 protected:
  const FileTensor& weight_;
  const int64_t inputs_;
  const float scale_;
};

class PackedReader final : public FileReader {
 public:
  PackedReader(const FileTensor& weight, int64_t outputs, int64_t inputs, float scale)
      : FileReader(weight, inputs, scale), byte_rows_(outputs / 4) {}

  void Read(int64_t output, Range inputs, absl::Span<uint8_t> codes) override {
    const int64_t row = output % byte_rows_;
    const int shift = static_cast<int>(2 * (output / byte_rows_));
    const auto* bytes = reinterpret_cast<const uint8_t*>(weight_.data.data()) + row * inputs_ + inputs.begin;
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = (bytes[i] >> shift) & 3;
  }

 private:
  const int64_t byte_rows_;
};

class OnlineReader final : public FileReader {
 public:
  OnlineReader(const FileTensor& weight, int64_t inputs, float scale) : FileReader(weight, inputs, scale) {}

  void Read(int64_t output, Range inputs, absl::Span<uint8_t> codes) override {
    row_.resize(codes.size());
    ReadFloats(weight_, output * inputs_ + inputs.begin, absl::MakeSpan(row_));
    for (size_t i = 0; i < codes.size(); ++i) {
      // clip(rint(w), -1, 1): rint takes a half to zero.
      const float w = row_[i] / scale_;
      codes[i] = static_cast<uint8_t>(1 + (w > 0.5f) - (w < -0.5f));
    }
  }

 private:
  std::vector<float> row_;  // [inputs]
};

// Eight sums by index modulo 8, added in order.
double SumOfMagnitudes(absl::Span<const float> values) {
  std::array<double, 8> sums = {};
  for (size_t i = 0; i < values.size(); ++i) sums[i % 8] += std::fabs(values[i]);
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

float MeanMagnitude(const FileTensor& weight) {
  std::vector<float> chunk(static_cast<size_t>(std::min(kChunk, weight.size())));
  double sum = 0;
  for (int64_t begin = 0; begin < weight.size(); begin += kChunk) {
    const absl::Span<float> values(chunk.data(),
                                   static_cast<size_t>(std::min(kChunk, weight.size() - begin)));
    ReadFloats(weight, begin, values);
    sum += SumOfMagnitudes(values);
    const size_t width = DTypeBytes(weight.dtype);
    weight.file->Release(weight.data.subspan(static_cast<size_t>(begin) * width, values.size() * width));
  }
  return static_cast<float>(sum / static_cast<double>(weight.size()));
}

absl::Status WrongForm(const FileTensor& weight, const std::string& right) {
  return absl::InvalidArgumentError(
      absl::StrCat(weight.Where(), ": is ", weight.Form(), "; it must be ", right));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TernaryReader>> MakePackedReader(const FileTensor& weight, int64_t outputs,
                                                                int64_t inputs, float scale) {
  if (outputs % 4 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(weight.Where(), ": has ", outputs,
                                                   " output channels; packed weights have a multiple of 4"));
  }
  if (weight.dtype != DType::kU8 || weight.shape != std::vector<int64_t>{outputs / 4, inputs}) {
    return WrongForm(
        weight, absl::StrCat("U8 [", outputs / 4, ", ", inputs, "], four packed output channels a byte"));
  }
  return std::make_unique<PackedReader>(weight, outputs, inputs, scale);
}

absl::StatusOr<std::unique_ptr<TernaryReader>> MakeOnlineReader(const FileTensor& weight, int64_t outputs,
                                                                int64_t inputs) {
  if (!IsFloat(weight.dtype) || weight.shape != std::vector<int64_t>{outputs, inputs}) {
    return WrongForm(
        weight, absl::StrCat("BF16, F16 or F32 [", outputs, ", ", inputs, "] in quantization_mode online"));
  }
  const float mean = MeanMagnitude(weight);
  if (!std::isfinite(mean)) {
    return absl::DataLossError(absl::StrCat(weight.Where(), ": has a weight that is not finite"));
  }
  return std::make_unique<OnlineReader>(weight, inputs, std::max(mean, kLeastMean));
}

}  // namespace ternion
