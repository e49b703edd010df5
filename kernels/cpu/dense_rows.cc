#include "kernels/cpu/dense_rows.h"

#include <algorithm>

namespace ternion::cpu {
namespace {

constexpr int64_t kTaskBytes = 256 << 10;

}  // namespace

void ForDenseRows(ThreadPool& pool, int64_t rows, int64_t inputs,
                  absl::FunctionRef<void(int64_t, int64_t)> body) {
  const int64_t step = std::max<int64_t>(8, kTaskBytes / 2 / std::max<int64_t>(1, inputs) / 8 * 8);
  pool.ForEach((rows + step - 1) / step,
               [&](int64_t task) { body(task * step, std::min(rows, (task + 1) * step)); });
}

}  // namespace ternion::cpu
