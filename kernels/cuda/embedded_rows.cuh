#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/check.h"
#include "kernels/cuda/rows.cuh"
#include "kernels/tensor.h"

// Rows of an embedding table, by ids of which some are on the device alone.
namespace ternion::cuda {

__device__ __forceinline__ int64_t DrawnOr(int32_t row, const int32_t* drawn) {
  return row < 0 ? drawn[~row] : row;
}

__device__ __forceinline__ Four<float> Widened(const Four<BFloat16>& words) {
  Four<float> wide;
#pragma unroll
  for (int i = 0; i < 4; ++i) wide.v[i] = __uint_as_float(static_cast<uint32_t>(words.v[i].bits) << 16);
  return wide;
}

inline void CheckRows(absl::Span<const int32_t> rows_host, int64_t rows, TensorView<const int32_t> drawn) {
  for (const int32_t row : rows_host) {
    CHECK(row < 0 ? ~row < drawn.size() : row < rows, "GatherRows: no such row");
  }
}

}  // namespace ternion::cuda
