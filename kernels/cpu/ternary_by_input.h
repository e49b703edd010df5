#pragma once

#include "kernels/cpu/simd/ternary_kernels.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/tensor.h"
#include "kernels/ternary.h"

namespace ternion::cpu {

// TernaryMatmul of a kByInput matrix.                  codes [T, inputs], out [T, outputs]
//
// A token's non-zero inputs are listed once, and every strip of 256 outputs is summed from the lines of the list
// alone. A block of tokens passes over a strip one by one while it lies in L2, so its bytes are fetched once.
// Listed lines run within 15 % of a dense tile's rate even where no input is zero (and a tile's transposed copy of
// the weights costs more than that below a dozen tokens), so there is one path for every number of tokens.
void TernaryMatmulByInput(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                          const TernaryKernels& kernels, ThreadPool& pool);

}  // namespace ternion::cpu
