#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/tensor.h"

namespace ternion {

// Tensors and buffers as the bytes that a communicator moves.

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
