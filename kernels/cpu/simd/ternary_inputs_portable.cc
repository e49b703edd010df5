// kByInput: a strip of 256 outputs in plain C++, input by input, shaped so that a compiler vectorizes it.
// Products are within 256, so the sums of 127 inputs fit 16 bits before they are widened.
#ifndef __AVX2__

#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

constexpr int64_t kSafeInputs = 127;

void AddLine(const uint8_t* line, int16_t value, int16_t* sums) {
  for (int j = 0; j < 64; ++j) {
    sums[j] = static_cast<int16_t>(sums[j] + (line[j] & 3) * value);
    sums[64 + j] = static_cast<int16_t>(sums[64 + j] + (line[j] >> 2 & 3) * value);
    sums[128 + j] = static_cast<int16_t>(sums[128 + j] + (line[j] >> 4 & 3) * value);
    sums[192 + j] = static_cast<int16_t>(sums[192 + j] + (line[j] >> 6) * value);
  }
}

void Widen(const int16_t* part, int32_t* sums) {
  for (int o = 0; o < 256; ++o) sums[o] += part[o];
}

}  // namespace

void DotListedInputs(const ListedInputDots& work) {
  int32_t sums[256] = {};
  for (int64_t begin = 0; begin < 4 * work.quads; begin += kSafeInputs) {
    const int64_t end = begin + kSafeInputs < 4 * work.quads ? begin + kSafeInputs : 4 * work.quads;
    int16_t part[256] = {};
    for (int64_t i = begin; i < end; ++i) AddLine(work.strip + work.offsets[i], work.values[i], part);
    Widen(part, sums);
  }
  for (int64_t o = 0; o < work.outputs; ++o) work.out[o] = sums[o] - work.code_sum;
}

}  // namespace ternion::cpu::TERNION_ISA

#endif  // __AVX2__
