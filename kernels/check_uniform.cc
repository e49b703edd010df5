#include "kernels/check_uniform.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace ternion {
namespace {

// Beyond this many inputs a row of codes is no layer's.
constexpr int64_t kMaxInputs = int64_t{1} << 23;

absl::Status CheckBits(const UniformFormat& format, int64_t output, const char* what, const uint8_t* numbers,
                       int64_t n) {
  if (n == 0) return absl::OkStatus();
  const uint8_t largest = *std::max_element(numbers, numbers + n);
  if (largest < 1 << format.bits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the weights of output ", output, " hold the ", what, " ",
                                                 static_cast<int>(largest), "; of ", format.bits,
                                                 " bits the largest is ", (1 << format.bits) - 1));
}

absl::Status CheckScales(const UniformFormat& format, int64_t output, const float* scales, int64_t n) {
  const float most = format.scale == ScaleType::kFloat16 ? 65504.0f : INFINITY;
  for (int64_t g = 0; g < n; ++g) {
    if (std::isfinite(scales[g]) && std::abs(scales[g]) <= most) continue;
    return absl::InvalidArgumentError(absl::StrCat("the weights of output ", output, " have the scale ",
                                                   scales[g], " in group ", g, "; a scale is a finite number",
                                                   std::isfinite(scales[g]) ? " of 16 bits" : ""));
  }
  return absl::OkStatus();
}

}  // namespace

void CheckUniformShape(const UniformFormat& format, int64_t outputs, int64_t inputs) {
  CHECK(format.bits >= 2 && format.bits <= 4, "uniform weights have 2, 3 or 4 bits");
  CHECK(outputs > 0 && inputs > 0 && inputs <= kMaxInputs && inputs % kShortSegment == 0,
        "a uniform matrix has an output and 32 to 2^23 inputs, a multiple of 32");
  CHECK(format.group > 0 && (format.group % kShortSegment == 0 || format.group >= inputs),
        "a group is a multiple of 32 inputs, or all of them");
}

absl::Status CheckUniformRows(const UniformFormat& format, int64_t first, const UniformRows& rows) {
  for (int64_t o = 0; o < rows.codes.rows(); ++o) {
    absl::Status status = CheckBits(format, first + o, "code", rows.codes.row(o), rows.codes.cols());
    status.Update(CheckBits(format, first + o, "zero", rows.zeros.row(o), rows.zeros.cols()));
    status.Update(CheckScales(format, first + o, rows.scales.row(o), rows.scales.cols()));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace ternion
