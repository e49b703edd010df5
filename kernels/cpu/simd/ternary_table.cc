#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {

const TernaryKernels& GetTernaryKernels() {
  static const TernaryKernels kernels = {SumCodes,   DotRows,         DotListedRows,
                                         ListInputs, DotListedInputs, SiluGate};
  return kernels;
}

// A plain sum: every compiler vectorizes it.
int32_t SumCodes(const int8_t* codes, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += codes[i];
  return sum;
}

}  // namespace ternion::cpu::TERNION_ISA
