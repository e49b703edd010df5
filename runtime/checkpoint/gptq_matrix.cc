#include "runtime/checkpoint/gptq_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/floats.h"

namespace ternion {
namespace {

constexpr int kWordBits = 32;

// How values lie in words: `values` of them in `words` words, the first in the lowest bits.
struct WordPacking {
  int bits = 0;
  int values = 0;
  int words = 1;

  // Words that n values take.
  int64_t Words(int64_t n) const { return (n + values - 1) / values * words; }
};

// Of 3-bit values a word holds ten (EfficientQAT), or three words hold 32 (GPTQ): the shape tells.
std::vector<WordPacking> PackingsOf(int bits) {
  std::vector<WordPacking> packings = {{bits, kWordBits / bits, 1}};
  if (bits == 3) packings.push_back({bits, kWordBits, bits});
  return packings;
}

uint32_t WordAt(const FileTensor& tensor, int64_t index) {
  uint32_t word = 0;
  std::memcpy(&word, tensor.data.data() + index * static_cast<int64_t>(sizeof(word)), sizeof(word));
  return word;
}

// The values of block `block` in a column of words: word w lies `stride` words behind word w - 1.
void UnpackBlock(const FileTensor& tensor, const WordPacking& packing, int64_t column, int64_t stride,
                 int64_t block, std::array<uint8_t, kWordBits>& values) {
  const uint32_t mask = (1u << packing.bits) - 1;
  uint64_t bits = 0;
  int held = 0;
  int64_t word = block * packing.words;
  for (int i = 0; i < packing.values; ++i) {
    if (held < packing.bits) {
      bits |= uint64_t{WordAt(tensor, column + word++ * stride)} << held;
      held += kWordBits;
    }
    values[static_cast<size_t>(i)] = static_cast<uint8_t>(bits & mask);
    bits >>= packing.bits;
    held -= packing.bits;
  }
}

absl::Status WrongForm(const FileTensor& tensor, const std::string& right) {
  return absl::InvalidArgumentError(
      absl::StrCat(tensor.Where(), ": is ", tensor.Form(), "; it must be ", right));
}

std::string IntForm(int64_t rows, int64_t cols) { return absl::StrCat("I32 [", rows, ", ", cols, "]"); }

bool IsInt(const FileTensor& tensor, int64_t rows, int64_t cols) {
  return tensor.dtype == DType::kI32 && tensor.shape == std::vector<int64_t>{rows, cols};
}

// That of `packings` under which `tensor` holds its values: [Words(n), other] along inputs, [other, Words(n)] along outputs.
absl::StatusOr<WordPacking> PackingFor(const FileTensor& tensor, const std::vector<WordPacking>& packings,
                                       int64_t n, int64_t other, bool along_rows) {
  std::string right;
  for (const WordPacking& packing : packings) {
    const int64_t rows = along_rows ? packing.Words(n) : other;
    const int64_t cols = along_rows ? other : packing.Words(n);
    if (IsInt(tensor, rows, cols)) return packing;
    absl::StrAppend(&right, right.empty() ? "" : " or ", IntForm(rows, cols));
  }
  return WrongForm(tensor, absl::StrCat(right, ", ", packings.front().bits, "-bit values"));
}

struct GptqTensors {
  const FileTensor* weight;
  const FileTensor* zeros;
  const FileTensor* scales;
};

absl::StatusOr<GptqTensors> Find(const TensorIndex& index, const std::string& name) {
  GptqTensors tensors{};
  TERNION_ASSIGN_OR_RETURN(tensors.weight, index.Get(name + ".qweight"));
  TERNION_ASSIGN_OR_RETURN(tensors.zeros, index.Get(name + ".qzeros"));
  TERNION_ASSIGN_OR_RETURN(tensors.scales, index.Get(name + ".scales"));
  return tensors;
}

class GptqMatrix final : public UniformMatrix {
 public:
  GptqMatrix(GptqTensors tensors, WordPacking weight_packing, WordPacking zero_packing, int64_t group,
             int64_t outputs, ZeroPoint zero_point)
      : tensors_(tensors),
        weight_packing_(weight_packing),
        zero_packing_(zero_packing),
        group_(group),
        outputs_(outputs),
        zero_point_(zero_point) {}
  ~GptqMatrix() override {
    for (const FileTensor* tensor : {tensors_.weight, tensors_.zeros, tensors_.scales})
      tensor->file->Release(tensor->data);
  }

  void Read(Range outputs, Range inputs, int64_t group, const UniformRows& rows) override {
    const int64_t width = weight_packing_.values;
    for (int64_t block = inputs.begin / width; block * width < inputs.end; ++block) {
      const Range part = {std::max(inputs.begin, block * width), std::min(inputs.end, (block + 1) * width)};
      for (int64_t o = 0; o < outputs.size(); ++o) {
        UnpackBlock(*tensors_.weight, weight_packing_, outputs.begin + o, outputs_, block, values_);
        std::copy_n(values_.begin() + (part.begin - block * width), part.size(),
                    rows.codes.row(o) + (part.begin - inputs.begin));
      }
    }
    std::vector<float> scales(static_cast<size_t>(outputs.size()));
    for (int64_t g = 0; g < inputs.size() / group; ++g) {
      const int64_t stored = (inputs.begin + g * group) / group_;
      ReadFloats(*tensors_.scales, stored * outputs_ + outputs.begin, absl::MakeSpan(scales));
      for (int64_t o = 0; o < outputs.size(); ++o) {
        rows.scales.row(o)[g] = Scale(scales[static_cast<size_t>(o)], stored, outputs.begin + o);
        rows.zeros.row(o)[g] = Zero(stored, outputs.begin + o);
      }
    }
  }

  absl::Status fault() const override {
    if (!fault_.ok() || any_scale_ || !any_read_) return fault_;
    return absl::InvalidArgumentError(absl::StrCat(
        tensors_.scales->Where(),
        ": all scales on this rank are zero: the checkpoint is broken, take another upload of it"));
  }
  std::string Where() const override { return tensors_.weight->Where(); }

 private:
  float Scale(float scale, int64_t group, int64_t output) {
    any_read_ = true;
    any_scale_ |= scale != 0;
    if (std::isfinite(scale)) return scale;
    Fault(absl::StatusCode::kDataLoss, *tensors_.scales, group, output, "is not finite");
    return 0;
  }

  uint8_t Zero(int64_t group, int64_t output) {
    const int64_t width = zero_packing_.values;
    UnpackBlock(*tensors_.zeros, zero_packing_, group * zero_packing_.Words(outputs_), 1, output / width,
                values_);
    const uint8_t stored = values_[static_cast<size_t>(output % width)];
    if (zero_point_ == ZeroPoint::kAsStored) return stored;
    if (stored + 1 < 1 << zero_packing_.bits) return static_cast<uint8_t>(stored + 1);
    Fault(absl::StatusCode::kUnimplemented, *tensors_.zeros, group, output,
          "is the largest number, which in version 1 of the format stands for two zero points; convert the "
          "model to "
          "checkpoint_format \"gptq_v2\"");
    return 0;
  }

  void Fault(absl::StatusCode code, const FileTensor& tensor, int64_t group, int64_t output,
             const char* what) {
    if (!fault_.ok()) return;
    fault_ = absl::Status(
        code, absl::StrCat(tensor.Where(), ": group ", group, " of output channel ", output, " ", what));
  }

  const GptqTensors tensors_;
  const WordPacking weight_packing_;
  const WordPacking zero_packing_;
  const int64_t group_;
  const int64_t outputs_;
  const ZeroPoint zero_point_;
  std::array<uint8_t, kWordBits> values_ = {};
  bool any_read_ = false;
  bool any_scale_ = false;
  absl::Status fault_;
};

absl::Status CheckScales(const FileTensor& scales, int64_t groups, int64_t outputs) {
  if (IsFloat(scales.dtype) && scales.shape == std::vector<int64_t>{groups, outputs}) return absl::OkStatus();
  return WrongForm(scales, absl::StrCat("F16, BF16 or F32 [", groups, ", ", outputs, "]"));
}

// g_idx names the group of every input channel.
absl::Status CheckOrder(const TensorIndex& index, const std::string& name, int64_t inputs, int64_t group) {
  const FileTensor* order = index.Find(name + ".g_idx");
  if (order == nullptr || order->size() == 0) return absl::OkStatus();
  if (order->dtype != DType::kI32 || order->shape != std::vector<int64_t>{inputs}) {
    return WrongForm(*order, absl::StrCat("I32 [", inputs, "]"));
  }
  for (int64_t i = 0; i < inputs; ++i) {
    if (WordAt(*order, i) == static_cast<uint32_t>(i / group)) continue;
    return absl::UnimplementedError(absl::StrCat(
        order->Where(), ": input channel ", i, " is of group ", static_cast<int32_t>(WordAt(*order, i)),
        ", not ", i / group, ": models quantized with act-order (desc_act) are not supported"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<UniformMatrix>> OpenGptqMatrix(const TensorIndex& index,
                                                              const ModelConfig& config,
                                                              const std::string& name, int64_t outputs,
                                                              int64_t inputs) {
  TERNION_ASSIGN_OR_RETURN(const GptqTensors tensors, Find(index, name));
  const UniformFormat& format = config.uniform;
  const int64_t group = format.group == 0 ? inputs : format.group;
  if (inputs % group != 0) {
    return absl::InvalidArgumentError(absl::StrCat(tensors.weight->Where(), ": has ", inputs,
                                                   " input channels, which groups of ", group,
                                                   " do not divide"));
  }
  const int64_t groups = inputs / group;
  TERNION_ASSIGN_OR_RETURN(const WordPacking weights, PackingFor(*tensors.weight, PackingsOf(format.bits),
                                                                 inputs, outputs, /*along_rows=*/true));
  TERNION_ASSIGN_OR_RETURN(const WordPacking zeros,
                           PackingFor(*tensors.zeros, {weights}, outputs, groups, /*along_rows=*/false));
  TERNION_RETURN_IF_ERROR(CheckScales(*tensors.scales, groups, outputs));
  TERNION_RETURN_IF_ERROR(CheckOrder(index, name, inputs, group));
  return std::make_unique<GptqMatrix>(tensors, weights, zeros, group, outputs, config.zero_point);
}

absl::StatusOr<UniformFormat> GptqFormat(const TensorIndex& index, const std::string& name, int64_t outputs,
                                         int64_t inputs) {
  TERNION_ASSIGN_OR_RETURN(const GptqTensors tensors, Find(index, name));
  UniformFormat format;
  const FileTensor& scales = *tensors.scales;
  const int64_t groups = scales.shape.empty() ? 0 : scales.shape[0];
  if (groups < 1 || inputs % groups != 0) {
    return WrongForm(scales, absl::StrCat("[groups, ", outputs, "], of which each has equally many of ",
                                          inputs, " channels"));
  }
  format.group = inputs / groups;
  for (const int bits : {2, 3, 4}) {
    format.bits = bits;
    if (PackingFor(*tensors.weight, PackingsOf(bits), inputs, outputs, /*along_rows=*/true).ok())
      return format;
  }
  return WrongForm(*tensors.weight, absl::StrCat("I32 [words, ", outputs, "] of 2, 3 or 4 bits for each of ",
                                                 inputs, " channels"));
}

}  // namespace ternion
