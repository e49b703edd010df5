#pragma once

#include "kernels/cpu/simd/ternary_kernels.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/weight_skip_counter.h"
#include "kernels/tensor.h"
#include "kernels/ternary.h"

namespace ternion::cpu {

// TernaryMatmul of a kByInput matrix, which is added to `skips`.   codes [T, inputs], out [T, outputs]
//
// A task lists the non-zero inputs of its tokens and sums every strip of 256 outputs from the lines of the lists
// alone, one token after the other while the strip lies in cache. Listed lines run within 15 % of a dense tile of
// several tokens even where no input is zero (below a dozen tokens transposing the weights for such a tile costs
// more than that), so there is one path. Few tokens: the tasks divide strips and inputs. Many: they divide the
// tokens. Either way a task makes the lists that it reads: they are made faster than they travel between cores.
void TernaryMatmulByInput(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                          const TernaryKernels& kernels, ThreadPool& pool, WeightSkipCounter& skips);

}  // namespace ternion::cpu
