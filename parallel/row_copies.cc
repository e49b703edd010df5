#include "parallel/row_copies.h"

#include <cstring>

namespace ternion {

void CopyBytes(const void* from, int64_t bytes, void* to) {
  if (bytes > 0 && from != to) std::memcpy(to, from, bytes);
}

void JoinColumns(const float* blocks, absl::Span<const int64_t> columns, TensorView<float> all) {
  int64_t column = 0;
  for (const int64_t width : columns) {
    for (int64_t i = 0; i < all.rows(); ++i) {
      CopyBytes(blocks + i * width, width * static_cast<int64_t>(sizeof(float)), all.row(i) + column);
    }
    blocks += all.rows() * width;
    column += width;
  }
  CHECK(column == all.cols(), "the blocks' columns make up the whole row");
}

void PickRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows, BFloat16* picked) {
  const int64_t row_bytes = table.cols() * static_cast<int64_t>(sizeof(BFloat16));
  for (const int32_t row : rows) {
    CHECK(0 <= row && row < table.rows(), "a picked row lies in the table");
    CopyBytes(table.row(row), row_bytes, picked);
    picked += table.cols();
  }
}

}  // namespace ternion
