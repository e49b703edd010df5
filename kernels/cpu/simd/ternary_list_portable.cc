// The list of the non-zero inputs without branches: AVX2 has no compress either and takes this one.
#ifndef __AVX512F__

#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {

int64_t ListInputs(const InputCodes& inputs, uint32_t* offsets, int8_t* values) {
  int64_t listed = 0, line = inputs.first_line;
  for (int64_t i = 0; i < inputs.n; ++i) {
    const int8_t code = inputs.codes[i];
    offsets[listed] = static_cast<uint32_t>(line * 64);
    values[listed] = code;
    listed += code != 0;
    line += inputs.line_step;
    line -= line >= inputs.lines ? inputs.lines : 0;
  }
  for (int k = 0; k < 4; ++k) {
    offsets[listed + k] = 0;
    values[listed + k] = 0;
  }
  return (listed + 3) / 4;
}

}  // namespace ternion::cpu::TERNION_ISA

#endif  // __AVX512F__
