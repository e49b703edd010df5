#pragma once

#include <bit>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/tensor.h"
#include "runtime/checkpoint/safetensors.h"

namespace ternion {

// F32, F16 and BF16.
bool IsFloat(DType dtype);

// Elements [begin, begin + out.size()) of a float tensor, exactly.
void ReadFloats(const FileTensor& tensor, int64_t begin, absl::Span<float> out);
// The same, rounded to bfloat16: to nearest, ties to even. BF16 keeps its bits.
void ReadBFloat16(const FileTensor& tensor, int64_t begin, absl::Span<BFloat16> out);

// The value of a bfloat16 or an fp16 number's bits.
inline float FromBFloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// The product moves the exponent from half's bias to float's and makes subnormals normal.
inline float FromHalf(uint16_t bits) {
  constexpr float kBiasShift = 0x1p112f;
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t magnitude = uint32_t{bits & 0x7fffu} << 13;
  const bool special = (bits & 0x7c00) == 0x7c00;  // infinity or NaN
  const uint32_t value = special ? magnitude | 0x7f800000u
                                 : std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * kBiasShift);
  return std::bit_cast<float>(sign | value);
}

inline BFloat16 RoundToBFloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  // Rounding up could carry a NaN's last bits into the sign: it becomes the quiet NaN instead.
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t rounded = nan ? bits | 0x00400000u : bits + 0x7fffu + ((bits >> 16) & 1u);
  return {static_cast<uint16_t>(rounded >> 16)};
}
inline bool IsFinite(BFloat16 value) { return (value.bits & 0x7f80) != 0x7f80; }

}  // namespace ternion
