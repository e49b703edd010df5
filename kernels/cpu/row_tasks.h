#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "kernels/cpu/thread_pool.h"

namespace ternion::cpu {

// Calls body(begin, end) on ranges that cover rows [0, rows). A range touches about kTaskElements elements,
// so that a small step stays on the caller's thread.
void ForRowRanges(ThreadPool& pool, int64_t rows, int64_t elements_of_row,
                  absl::FunctionRef<void(int64_t begin, int64_t end)> body);

}  // namespace ternion::cpu
