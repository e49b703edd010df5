#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "absl/types/span.h"
#include "kernels/check.h"

namespace ternion {

// A bfloat16 or IEEE half as it lies in memory.
struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

// A borrowed matrix, row-major and without gaps: [rows, cols]. A vector is one row. It points into a device's
// memory; which device is known from the backend it is passed to.
template <typename T>
class TensorView {
 public:
  TensorView() = default;
  TensorView(T* data, int64_t rows, int64_t cols) : data_(data), rows_(rows), cols_(cols) {
    CHECK(rows >= 0 && cols >= 0, "a tensor has no negative sides");
  }
  // A view of values may be read as a view of constants.
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  TensorView(const TensorView<U>& other) : TensorView(other.data(), other.rows(), other.cols()) {}  // NOLINT

  T* data() const { return data_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t size() const { return rows_ * cols_; }
  int64_t bytes() const { return size() * static_cast<int64_t>(sizeof(T)); }
  bool empty() const { return size() == 0; }

  T* row(int64_t i) const { return data_ + i * cols_; }
  TensorView Rows(int64_t begin, int64_t end) const {
    CHECK(0 <= begin && begin <= end && end <= rows_, "row range outside the tensor");
    return {row(begin), end - begin, cols_};
  }

 private:
  T* data_ = nullptr;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

// Owned device memory of `bytes` bytes, aligned to 256, contents undefined. Made by Backend::Allocate.
class Buffer {
 public:
  using Release = void (*)(void* data, size_t bytes);

  Buffer() = default;
  Buffer(void* data, size_t bytes, Release release) : data_(data), bytes_(bytes), release_(release) {}
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Buffer() {
    if (release_ != nullptr) release_(data_, bytes_);
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }

  // The buffer's first rows * cols elements as a matrix.
  template <typename T>
  TensorView<T> As(int64_t rows, int64_t cols) const {
    CHECK(rows * cols * static_cast<int64_t>(sizeof(T)) <= static_cast<int64_t>(bytes_),
          "the view is larger than its buffer");
    return {static_cast<T*>(data_), rows, cols};
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Release release_ = nullptr;
};

// Rows of activations as integer codes and the number that each row's codes are to be multiplied with.
// An INT4 code lies in a byte of its own here (-8 to 7); on the wire two share a byte (Backend::PackInt4).
template <typename Code, typename Scale>
struct BasicQuantizedRows {
  TensorView<Code> codes;    // [tokens, channels]
  TensorView<Scale> scales;  // [1, tokens]

  BasicQuantizedRows Rows(int64_t begin, int64_t end) const {
    return {codes.Rows(begin, end), {scales.data() + begin, 1, end - begin}};
  }
};
using QuantizedRows = BasicQuantizedRows<int8_t, float>;

}  // namespace ternion
