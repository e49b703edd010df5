#pragma once

#include "kernels/cpu/simd/ternary_kernels.h"

// The entries of TernaryKernels for the instruction set being compiled. The files ternary_*_<set>.cc are
// empty for the other sets.
namespace ternion::cpu::TERNION_ISA {

int32_t SumCodes(const int8_t* codes, int64_t n);
int64_t CountInputs(const int8_t* codes, int64_t n);
void DotRows(const RowDots& work);
void DotListedRows(const ListedRowDots& work);
int64_t ListInputs(const InputCodes& inputs, uint32_t* offsets, int8_t* values);
void DotListedInputs(const ListedInputDots& work);
void SiluGate(const GateRow& row);

}  // namespace ternion::cpu::TERNION_ISA
