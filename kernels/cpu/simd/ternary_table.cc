#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {

const TernaryKernels& GetTernaryKernels() {
  static const TernaryKernels kernels = {SumCodes,   CountInputs,     DotRows, DotListedRows,
                                         ListInputs, DotListedInputs, SiluGate};
  return kernels;
}

// Plain loops, which every compiler vectorizes.
int32_t SumCodes(const int8_t* codes, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += codes[i];
  return sum;
}

int64_t CountInputs(const int8_t* codes, int64_t n) {
  int32_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += codes[i] != 0;
  return count;
}

}  // namespace ternion::cpu::TERNION_ISA
