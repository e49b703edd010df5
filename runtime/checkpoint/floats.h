#pragma once

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

// The value of an fp16 or a bfloat16 number's bits.
float FromHalf(uint16_t bits);
float FromBFloat16(uint16_t bits);

BFloat16 RoundToBFloat16(float value);
inline bool IsFinite(BFloat16 value) { return (value.bits & 0x7f80) != 0x7f80; }

}  // namespace ternion
