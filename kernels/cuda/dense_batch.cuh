#pragma once

#include <cuda_fp16.h>

#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/bfloat16_terms.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/float_linear.h"

// What both matmuls of plain weights are made of: tiles of 16 outputs by 8 tokens, over a batch of 64 channels at a time, on
// tensor cores; a step of 16 channels is one multiplication. Of a step lane 4 g + q has channels 2 q, 2 q + 1, 2 q + 8 and
// 2 q + 9 of outputs g and g + 8 and of token g.
//
// An input is a sum of terms of the weights' type: three bfloat16, exactly; or two float16 of the input times a power of two
// that brings the batch's absolute maximum to 2^14 or more. These leave out at most the last of its 24 bits, or 2^-39 of that
// maximum.
//
// Numerics: a batch's sum is one chain of multiplications that starts with the small terms, step by step, and ends with the
// first ones. Batch b joins partial sum b % 8, in ascending order of b; the partial sums are added from the first on.
namespace ternion::cuda {

inline constexpr int kDenseSums = 8;
inline constexpr int kDenseStep = 16;
inline constexpr int kDenseSteps = 4;
inline constexpr int kDenseBatch = kDenseSteps * kDenseStep;
inline constexpr int kDenseTileOutputs = 16;
inline constexpr int kDenseTileTokens = 8;
inline constexpr int kDenseRowBytes = kDenseBatch * 2;  // of a batch
inline constexpr int kDenseRowUnits = kDenseRowBytes / kUnitBytes;

template <DenseType kType>
inline constexpr int kDenseTerms = kType == DenseType::kBFloat16 ? 3 : 2;

// sum[16 x 8] += a . b over 16 channels, as MultiplyAdd.
template <DenseType kType>
__device__ __forceinline__ void DenseMultiply(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                              uint32_t b1) {
  if constexpr (kType == DenseType::kFloat16) {
    MultiplyAdd(sum, a, b0, b1);
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// A step of kTiles tiles of outputs by one of tokens.
template <DenseType kType, int kTiles>
__device__ __forceinline__ void MultiplyStep(const uint32_t (&w)[kTiles][4], const uint2& x,
                                             float (&sums)[kTiles][4]) {
#pragma unroll
  for (int r = 0; r < kTiles; ++r) DenseMultiply<kType>(sums[r], w[r], x.x, x.y);
}

// A power of two for a batch of a token, and one by it.
struct BatchScale {
  float factor;
  float inverse;
};
__device__ __forceinline__ BatchScale ScaleOf(float absmax) {
  constexpr unsigned kLeast = 27, kBias = 127, kTop = 14;  // kLeast: so that both are normal numbers
  const unsigned exponent = max(__float_as_uint(absmax) >> 23, kLeast);
  return {__uint_as_float((2 * kBias + kTop - exponent) << 23), __uint_as_float((exponent - kTop) << 23)};
}

// Takes a term of the weights' type off each of two floats.
template <DenseType kType>
__device__ __forceinline__ uint32_t TakeDenseTerms(float& low, float& high) {
  if constexpr (kType == DenseType::kBFloat16) {
    return TakeTerms(low, high);
  } else {
    const uint32_t bits = PackHalves(low, high);
    low -= __half2float(__ushort_as_half(static_cast<uint16_t>(bits & 0xffff)));
    high -= __half2float(__ushort_as_half(static_cast<uint16_t>(bits >> 16)));
    return bits;
  }
}

// In shared memory a batch's rows, of weights or terms, follow each other as attention_mma.cuh says.
template <int kTiles>
__device__ __forceinline__ void LoadWeights(uint32_t rows, int step, uint32_t (&w)[kTiles][4]) {
#pragma unroll
  for (int r = 0; r < kTiles; ++r) {
    LoadLeft<kDenseRowBytes>(rows + r * kDenseTileOutputs * kDenseRowBytes, 2 * step, w[r]);
  }
}

// How kThreads threads copy kRows rows of a batch into shared memory. Channels that do not exist become zeros there; in the
// place of rows that do not exist stays what was there.
template <int kThreads, int kRows>
class BatchCopies {
 public:
  __device__ __forceinline__ BatchCopies(const uint16_t* matrix, int64_t rows, int inputs, int64_t first_row,
                                         int thread)
      : matrix_(matrix),
        inputs_(inputs),
        channel_(thread % kDenseRowUnits * kUnitHalves),
        offset_(UnitOffset<kDenseRowBytes>(thread / kDenseRowUnits, thread % kDenseRowUnits)) {
    const int64_t row = first_row + thread / kDenseRowUnits;
    from_ = matrix + row * inputs + channel_;
    left_ = static_cast<int>(min(rows - row, int64_t{kRows}));
  }

  // Of the matrix that begins `skipped` elements behind this one.
  __device__ __forceinline__ void Start(uint32_t shared, int batch, int64_t skipped = 0) const {
    const bool exists = batch * kDenseBatch + channel_ < inputs_;
    const uint16_t* from = exists ? from_ + batch * kDenseBatch + skipped : matrix_;
#pragma unroll
    for (int i = 0; i < kRows; i += kApart) {
      const uint32_t place = i % 8 == 0 ? offset_ : offset_ ^ kTurn;
      if (i < left_) CopyUnitOrZero(shared + place + i * kDenseRowBytes, from, exists);
      from += kApart * inputs_;
    }
  }

 private:
  static constexpr int kApart = kThreads / kDenseRowUnits;  // the rows of one thread
  static constexpr uint32_t kTurn =
      kDenseRowUnits / 2 * kUnitBytes;  // between a unit's places in rows 4 apart
  static_assert((kApart == 4 || kApart % 8 == 0) && kRows % kApart == 0);

  const uint16_t* matrix_;
  const uint16_t* from_;
  int inputs_;
  int left_;  // rows from this thread's first one on
  int channel_;
  uint32_t offset_;
};

}  // namespace ternion::cuda
