#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd/ternary_kernels.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/tensor.h"

namespace ternion::cpu {

// The inner loops for an instruction set that this machine runs.
const TernaryKernels& SelectTernaryKernels(Isa isa);

// A step's activation codes as the ternary kernels read them: rows padded with zeros to a multiple of `unit`
// codes, each with its sum. Borrows the rows where they need no padding.
class PaddedCodes {
 public:
  PaddedCodes(TensorView<const int8_t> codes, int64_t unit, const TernaryKernels& kernels, ThreadPool& pool);

  int64_t tokens() const { return tokens_; }
  int64_t stride() const { return stride_; }
  const int8_t* row(int64_t token) const { return rows_ + token * stride_; }  // [stride]
  const int32_t* sums() { return sums_.data(); }                              // [tokens]

 private:
  int64_t tokens_;
  int64_t stride_;
  Scratch<int8_t> padded_;  // [tokens, stride], or empty
  Scratch<int32_t> sums_;   // [tokens]
  const int8_t* rows_;
};

// How the rows of a kByOutput matrix are shared out. A task takes `task_rows` neighbouring rows: few tasks, so that
// memory is read in long streams. Within it all tokens pass over `pass_rows` rows before the next are read: one pass
// where the tokens fit one tile of the kernel, else as many rows as stay in L2. Both are multiples of four, the
// height of a tile.
struct RowSplit {
  int64_t task_rows;
  int64_t pass_rows;
};
RowSplit SplitRows(int64_t rows, int64_t groups, int64_t tokens, int threads);

}  // namespace ternion::cpu
