#include "kernels/cpu/ternary_codes.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

// Below this many codes a loop over tokens is over before a second thread has joined.
constexpr int64_t kSerialCodes = 32768;
constexpr int64_t kTasksPerThread = 3;
constexpr int64_t kPassBytes = 64 << 10;
constexpr int64_t kTileRows = 4;
constexpr int64_t kTileTokens = 6;

}  // namespace

const TernaryKernels& SelectTernaryKernels(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return avx512::GetTernaryKernels();
    case Isa::kAvx2:
      return avx2::GetTernaryKernels();
    case Isa::kPortable:
      break;
  }
  return portable::GetTernaryKernels();
}

PaddedCodes::PaddedCodes(TensorView<const int8_t> codes, int64_t unit, const TernaryKernels& kernels,
                         ThreadPool& pool)
    : tokens_(codes.rows()),
      stride_(CeilDivide(codes.cols(), unit) * unit),
      padded_(stride_ == codes.cols() ? 0 : tokens_ * stride_),
      sums_(tokens_),
      rows_(stride_ == codes.cols() ? codes.data() : padded_.data()) {
  const auto prepare = [&](int64_t t) {
    if (rows_ != codes.data()) {
      int8_t* row = padded_.data() + t * stride_;
      std::memcpy(row, codes.row(t), static_cast<size_t>(codes.cols()));
      std::memset(row + codes.cols(), 0, static_cast<size_t>(stride_ - codes.cols()));
    }
    sums_[t] = kernels.sum_codes(row(t), stride_);
  };
  if (codes.size() > kSerialCodes) {
    pool.ForEach(tokens_, prepare);
  } else {
    for (int64_t t = 0; t < tokens_; ++t) prepare(t);
  }
}

RowSplit SplitRows(int64_t rows, int64_t groups, int64_t tokens, int threads) {
  const int64_t task_rows = CeilDivide(CeilDivide(rows, kTasksPerThread * threads), kTileRows) * kTileRows;
  if (tokens <= kTileTokens) return {task_rows, task_rows};
  const int64_t resident = std::max<int64_t>(1, kPassBytes / (groups * kLineBytes * kTileRows)) * kTileRows;
  return {task_rows, std::min(task_rows, resident)};
}

}  // namespace ternion::cpu
