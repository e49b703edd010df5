#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "kernels/cpu/thread_pool.h"

namespace ternion::cpu {

// Calls body(begin, end) on ranges that cover the rows [0, rows) of a table of 16-bit floats. The weights of a range stay in
// the second cache while every token passes over them.
void ForDenseRows(ThreadPool& pool, int64_t rows, int64_t inputs,
                  absl::FunctionRef<void(int64_t begin, int64_t end)> body);

}  // namespace ternion::cpu
