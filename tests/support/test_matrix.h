#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/tensor.h"

namespace ternion {

// A matrix of a test: owned, compared bit by bit.
template <typename T>
struct TestMatrix {
  TestMatrix(int64_t row_count, int64_t col_count)
      : rows(row_count), cols(col_count), values(row_count * col_count) {}

  TensorView<T> view() { return {values.data(), rows, cols}; }
  TensorView<const T> view() const { return {values.data(), rows, cols}; }
  T& at(int64_t row, int64_t col) { return values[row * cols + col]; }
  const T& at(int64_t row, int64_t col) const { return values[row * cols + col]; }

  // Rows [begin, end).
  TestMatrix Rows(int64_t begin, int64_t end) const {
    TestMatrix part(end - begin, cols);
    part.values.assign(values.begin() + begin * cols, values.begin() + end * cols);
    return part;
  }
  bool SameBits(const TestMatrix& other) const {
    return rows == other.rows && cols == other.cols &&
           (values.empty() ||
            std::memcmp(values.data(), other.values.data(), values.size() * sizeof(T)) == 0);
  }

  int64_t rows;
  int64_t cols;
  std::vector<T> values;  // [rows, cols]
};

}  // namespace ternion
