#pragma once

#include "kernels/cpu/simd/ternary_kernels.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/tensor.h"
#include "kernels/ternary.h"

namespace ternion::cpu {

// TernaryMatmul of a kByInput matrix.                  codes [T, inputs], out [T, outputs]
//
// A token's non-zero inputs are listed once, and every strip of 256 outputs is summed from the lines of the
// list alone, one token after the other while the strip lies in cache. Listed lines run within 15 % of a
// dense tile of several tokens even where no input is zero (below a dozen tokens transposing the weights for
// such a tile costs more than that), so there is one path. Few tokens: the threads share their lists and
// divide the strips. Many: each thread takes tokens of its own, so that no list travels between cores.
void TernaryMatmulByInput(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                          const TernaryKernels& kernels, ThreadPool& pool);

}  // namespace ternion::cpu
