#include "runtime/checkpoint/trit_groups.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/floats.h"

namespace ternion {
namespace {

constexpr int64_t kMostParts = 64;
constexpr int64_t kLeastGroup = 32;
constexpr int64_t kSampledRows = 64;

float Largest(absl::Span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

// Whether all are -s, 0 or s of one s.
bool AreTrits(absl::Span<const float> values) {
  const float scale = Largest(values);
  return std::isfinite(scale) &&
         std::all_of(values.begin(), values.end(), [&](float w) { return w == 0 || std::fabs(w) == scale; });
}

bool FallsInto(absl::Span<const float> row, int64_t parts) {
  const size_t group = row.size() / static_cast<size_t>(parts);
  for (size_t begin = 0; begin < row.size(); begin += group) {
    if (!AreTrits(row.subspan(begin, group))) return false;
  }
  return true;
}

class TritGroups final : public UniformMatrix {
 public:
  TritGroups(const FileTensor& weight, int64_t inputs) : weight_(weight), inputs_(inputs) {}
  ~TritGroups() override { weight_.file->Release(weight_.data); }

  void Read(Range outputs, Range inputs, int64_t group, const UniformRows& rows) override {
    row_.resize(static_cast<size_t>(inputs.size()));
    for (int64_t o = 0; o < outputs.size(); ++o) {
      ReadFloats(weight_, (outputs.begin + o) * inputs_ + inputs.begin, absl::MakeSpan(row_));
      for (int64_t g = 0; g < inputs.size() / group; ++g) {
        const absl::Span<const float> part =
            absl::MakeConstSpan(row_).subspan(static_cast<size_t>(g * group), static_cast<size_t>(group));
        if (!AreTrits(part)) Spoil(outputs.begin + o);
        rows.scales.row(o)[g] = fault_.ok() ? Largest(part) : 0;
        rows.zeros.row(o)[g] = 1;
      }
      for (int64_t i = 0; i < inputs.size(); ++i) {
        const float w = row_[static_cast<size_t>(i)];
        rows.codes.row(o)[i] = static_cast<uint8_t>(1 + (w > 0) - (w < 0));
      }
    }
  }

  absl::Status fault() const override { return fault_; }
  std::string Where() const override { return weight_.Where(); }

 private:
  void Spoil(int64_t output) {
    if (!fault_.ok()) return;
    fault_ = absl::InvalidArgumentError(absl::StrCat(
        weight_.Where(), ": output channel ", output,
        " has weights of more than one magnitude, where the model's first layer has ternary ones"));
  }

  const FileTensor& weight_;
  const int64_t inputs_;
  std::vector<float> row_;  // [inputs]
  absl::Status fault_;
};

}  // namespace

std::optional<int64_t> TritRowScales(const FileTensor& weight) {
  if (!IsFloat(weight.dtype) || weight.shape.size() != 2) return std::nullopt;
  const int64_t rows = weight.shape[0], inputs = weight.shape[1];
  std::vector<float> row(static_cast<size_t>(inputs));
  int64_t parts = 1;
  for (int64_t i = 0; i < std::min(rows, kSampledRows); ++i) {
    ReadFloats(weight, i * rows / std::min(rows, kSampledRows) * inputs, absl::MakeSpan(row));
    while (inputs % parts != 0 || !FallsInto(row, parts)) {
      if (++parts > kMostParts || inputs / parts < kLeastGroup) return std::nullopt;
    }
  }
  weight.file->Release(weight.data);
  return parts;
}

absl::StatusOr<std::unique_ptr<UniformMatrix>> OpenTritGroups(const FileTensor& weight, int64_t outputs,
                                                              int64_t inputs) {
  if (!IsFloat(weight.dtype) || weight.shape != std::vector<int64_t>{outputs, inputs}) {
    return absl::InvalidArgumentError(absl::StrCat(weight.Where(), ": is ", weight.Form(),
                                                   "; it must be BF16, F16 or F32 [", outputs, ", ", inputs,
                                                   "]"));
  }
  return std::make_unique<TritGroups>(weight, inputs);
}

}  // namespace ternion
