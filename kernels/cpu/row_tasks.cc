#include "kernels/cpu/row_tasks.h"

#include <algorithm>

namespace ternion::cpu {
namespace {

// A few microseconds of streaming, several times what waking a thread costs.
constexpr int64_t kTaskElements = 32768;

}  // namespace

void ForRowRanges(ThreadPool& pool, int64_t rows, int64_t elements_of_row,
                  absl::FunctionRef<void(int64_t, int64_t)> body) {
  const int64_t step = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, elements_of_row));
  pool.ForEach((rows + step - 1) / step,
               [&](int64_t task) { body(task * step, std::min(rows, (task + 1) * step)); });
}

}  // namespace ternion::cpu
