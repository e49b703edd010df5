#pragma once

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/ternary_layout.h"
#include "kernels/cuda/ternary_rows.h"

// Steps of one token that do not read what a zero would be multiplied with.
namespace ternion::cuda {

// A second form of a kByInput matrix, behind the tiles in PackedTernary::data: the weights of one input lie together, and
// those of zero inputs are not read. Outputs are cut into groups of 128 * columns; what lies behind the last output is
// undefined.
//
//   [group][input][word] of 4 bytes, 8 * columns words
//
// Word columns * g + j (g < 8, j < columns) holds codes of outputs 128 * j + 16 * g + i (i < 16) of the group at bits
// 2 i, 2 i + 1.
inline constexpr int kColumnOutputs = 128;
inline constexpr int kColumnBytes = kColumnOutputs / 4;

// What this device holds of it.
ByInputCopy ByInputCopyOn(const CudaBackend& backend, TernaryLayout layout, int64_t outputs, int64_t inputs);
// Where it lies; null: there is none.
const uint8_t* ByInput(const CudaBackend& backend, const PackedTernary& w);

// The matmul of one token with the epilogue kSums, kStore or kAdd; work.weights is the second form, work.codes lies at a
// multiple of 4.
void TernarySparse(CudaBackend& backend, const MatmulWork& work, Epilogue epilogue);

// Both matmuls of a gated unit with kGateRelu2 and one token.
bool TernaryGatedFits(const CudaBackend& backend, const MatmulWork& work);
void TernaryGated(CudaBackend& backend, const RowsWork& work);

}  // namespace ternion::cuda
