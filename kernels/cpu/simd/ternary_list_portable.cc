// The list of the non-zero inputs without branches: AVX2 has no compress either and takes this one.
#ifndef __AVX512F__

#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {

int64_t ListInputs(const int8_t* codes, int64_t n, uint32_t* offsets, int8_t* values) {
  int64_t listed = 0;
  for (int64_t i = 0; i < n; ++i) {
    offsets[listed] = static_cast<uint32_t>(i * 64);
    values[listed] = codes[i];
    listed += codes[i] != 0;
  }
  for (int k = 0; k < 4; ++k) {
    offsets[listed + k] = 0;
    values[listed + k] = 0;
  }
  return (listed + 3) / 4;
}

}  // namespace ternion::cpu::TERNION_ISA

#endif  // __AVX512F__
