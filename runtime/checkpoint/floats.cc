#include "runtime/checkpoint/floats.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels/check.h"

namespace ternion {
namespace {

// The file's bytes need not be aligned for uint16_t.
template <typename Convert>
void ConvertHalves(const std::byte* from, absl::Span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * i, sizeof(bits));
    out[i] = convert(bits);
  }
}

}  // namespace

bool IsFloat(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

void ReadFloats(const FileTensor& tensor, int64_t begin, absl::Span<float> out) {
  CHECK(IsFloat(tensor.dtype), "the caller has checked the dtype");
  CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= tensor.size(), "range outside the tensor");
  if (out.empty()) return;
  const std::byte* from = tensor.data.data() + static_cast<size_t>(begin) * DTypeBytes(tensor.dtype);
  if (tensor.dtype == DType::kF32) std::memcpy(out.data(), from, out.size() * sizeof(float));
  if (tensor.dtype == DType::kF16) ConvertHalves(from, out, FromHalf);
  if (tensor.dtype == DType::kBF16) ConvertHalves(from, out, FromBFloat16);
}

void ReadBFloat16(const FileTensor& tensor, int64_t begin, absl::Span<BFloat16> out) {
  if (out.empty()) return;
  if (tensor.dtype == DType::kBF16) {
    CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= tensor.size(),
          "range outside the tensor");
    std::memcpy(out.data(), tensor.data.data() + 2 * begin, out.size() * sizeof(BFloat16));
    return;
  }
  std::array<float, 1024> wide;
  for (size_t done = 0; done < out.size(); done += wide.size()) {
    const size_t count = std::min(wide.size(), out.size() - done);
    ReadFloats(tensor, begin + static_cast<int64_t>(done), {wide.data(), count});
    std::transform(wide.begin(), wide.begin() + count, out.begin() + done, RoundToBFloat16);
  }
}

}  // namespace ternion
