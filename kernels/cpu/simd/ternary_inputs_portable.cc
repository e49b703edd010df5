// kByInput: a strip of 256 outputs in plain C++, input by input, shaped so that a compiler vectorizes it.
// Products are within 256, so the sums of 127 inputs fit 16 bits before they are widened.
#ifndef __AVX2__

#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

constexpr int64_t kSafeInputs = 127;
constexpr int64_t kAheadInputs = 16;

// Without the promise that they lie apart, bytes may alias the sums, and the loop stays scalar.
void AddLine(const uint8_t* __restrict line, int16_t value, int16_t* __restrict sums) {
  for (int f = 0; f < 4; ++f) {
    for (int j = 0; j < 64; ++j) {
      const auto product = static_cast<int16_t>((line[j] >> 2 * f & 3) * value);
      sums[64 * f + j] = static_cast<int16_t>(sums[64 * f + j] + product);
    }
  }
}

void Widen(const int16_t* part, int32_t* sums) {
  for (int o = 0; o < 256; ++o) sums[o] += part[o];
}

}  // namespace

void DotListedInputs(const ListedInputDots& work) {
  const LineList& list = work.list;
  int32_t sums[256] = {};
  for (int64_t begin = 0; begin < 4 * list.quads; begin += kSafeInputs) {
    const int64_t end = begin + kSafeInputs < 4 * list.quads ? begin + kSafeInputs : 4 * list.quads;
    int16_t part[256] = {};
    for (int64_t i = begin; i < end; ++i) {
      // The lines lie scattered (ternary_layout.h): no hardware finds the next one by itself.
      if (list.offsets != nullptr && i + kAheadInputs < 4 * list.quads) {
        __builtin_prefetch(list.strip + list.offsets[i + kAheadInputs]);
      }
      AddLine(list.strip + (list.offsets == nullptr ? 64 * i : list.offsets[i]), list.values[i], part);
    }
    Widen(part, sums);
  }
  for (int64_t o = 0; o < work.outputs; ++o) work.out[o] = sums[o] - work.code_sum;
}

}  // namespace ternion::cpu::TERNION_ISA

#endif  // __AVX2__
