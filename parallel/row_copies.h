#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/tensor.h"

namespace ternion {

// Copies and permutations between exchange buffers and tensors, in host memory.

// Nothing to do when both are the same place.
void CopyBytes(const void* from, int64_t bytes, void* to);

// Blocks side by side: `blocks` holds, for every rank in order, [rows, columns[r]]; row i of `all` is row i
// of each block.                                                                   all [rows, sum of columns]
void JoinColumns(const float* blocks, absl::Span<const int64_t> columns, TensorView<float> all);

// picked[i] = table[rows[i]].                                              table [any, h], picked
// [rows.size(), h]
void PickRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows, BFloat16* picked);

// A matrix as the bytes a communicator moves.
template <typename T>
absl::Span<const std::byte> AsBytes(TensorView<const T> view) {
  return {reinterpret_cast<const std::byte*>(view.data()), static_cast<size_t>(view.bytes())};
}
template <typename T>
absl::Span<std::byte> AsWritableBytes(TensorView<T> view) {
  return {reinterpret_cast<std::byte*>(view.data()), static_cast<size_t>(view.bytes())};
}
// The first `bytes` bytes of a buffer.
inline absl::Span<std::byte> FrontOf(const Buffer& buffer, int64_t bytes) {
  CHECK(bytes <= static_cast<int64_t>(buffer.bytes()), "an exchange fits its buffer");
  return {static_cast<std::byte*>(buffer.data()), static_cast<size_t>(bytes)};
}

}  // namespace ternion
