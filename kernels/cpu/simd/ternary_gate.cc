// Epilogue of the SiLU gate: plain float32 operations in the written order, one by one, so that every
// instruction set gives the same bits (kernels/cpu/simd/exp.h likewise).
#include "kernels/cpu/simd/exp.h"
#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {

void SiluGate(const GateRow& row) {
  for (int64_t i = 0; i < row.n; ++i) {
    const float g = static_cast<float>(row.gate[i]) * (row.row_scale * row.gate_scale[i]);
    const float u = static_cast<float>(row.up[i]) * (row.row_scale * row.up_scale[i]);
    row.y[i] = g / (1.0f + Exp(-g)) * u;
  }
}

}  // namespace ternion::cpu::TERNION_ISA
