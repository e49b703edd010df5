#pragma once

#include "kernels/cuda/peer_share.h"
#include "kernels/cuda/quantize_row.cuh"

// A device's channels of a row before a row-parallel layer with a lossy wire, in a block's registers.
namespace ternion::cuda {

// The row times the norm's weights, which FetchWeights has fetched to `shared`; its sum of squares to *squares first.
// Both only where the row is normalized.
template <int kFours>
__device__ __forceinline__ void ScaleShare(const RowWork& work, Four<float>* shared, float* squares,
                                           OwnChannels<kFours>& row) {
  if (work.weight == nullptr) return;
  if (squares != nullptr) {
    float* const sums = reinterpret_cast<float*>(shared + work.n / 4);
    __syncthreads();  // the sums of the row before have been added
    SumSegments(
        row, work.n, work.segment, [](const Four<float>& four) { return Squares(four); }, sums);
    const float sum = BlockSumOfSegments(sums, work.n / work.segment);
    if (threadIdx.x == 0) *squares = sum;
  }
  __pipeline_wait_prior(0);  // each thread reads only the weights that it fetched
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    if (row.Index(v) >= work.n / 4) continue;
    const Four<float> weight = shared[row.Index(v)];
#pragma unroll
    for (int i = 0; i < 4; ++i) row.x[v].v[i] *= weight.v[i];
  }
}

template <int kFours>
__device__ __forceinline__ OwnChannels<kFours> LoadShare(const RowWork& work, int64_t row_index) {
  OwnChannels<kFours> row;
  const float* const x = work.x + row_index * work.n;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const int i = row.Index(v);
    row.x[v] = i < work.n / 4 ? LoadFour<true>(x + 4 * i, 4) : Four<float>{};
  }
  return row;
}

template <int kFours>
__device__ __forceinline__ void StoreShareCodes(const RowWork& work, float floor, int64_t row_index,
                                                const OwnChannels<kFours>& row) {
  uint32_t most = 0;
#pragma unroll
  for (int v = 0; v < kFours; ++v) most = max(most, MostMagnitude(row.x[v]));
  const CodeUnit unit = Int8Unit(__uint_as_float(BlockMax(most)), floor);
  int8_t* const codes = work.codes + row_index * work.n;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const int i = row.Index(v);
    if (i < work.n / 4) StoreFour<true>(Codes(row.x[v], unit), codes + 4 * i, 4);
  }
  if (threadIdx.x == 0) work.scales[row_index] = unit.scale;
}

inline RowWork WorkOf(const ShareRows& rows) {
  RowWork work;
  work.x = rows.x.data();
  work.n = static_cast<int>(rows.x.cols());
  work.keep = work.n;
  if (!rows.how.weight.empty()) {
    work.weight = rows.how.weight.data();
    work.segment = rows.how.segment;
  }
  work.codes = rows.out.codes.data();
  work.scales = rows.out.scales.data();
  return work;
}

}  // namespace ternion::cuda
