// Log-probabilities of rows of logits: one block a row, which passes over it once for the largest logit, once for the sum
// of the weights, and once for each of the largest columns that are told. Rarely asked for, so plain; bound by the passes,
// which find the row in L2.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/logit_order.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;

// A column's rank in its row: larger logits first, of equals the lower column.
__device__ __forceinline__ uint64_t RankOf(float logit, int column) {
  return uint64_t{OrderOf(logit)} << 32 | (0xffffffffu - static_cast<uint32_t>(column));
}
__device__ __forceinline__ int ColumnOfRank(uint64_t rank) {
  return static_cast<int>(0xffffffffu - static_cast<uint32_t>(rank));
}

__device__ __forceinline__ uint64_t BlockMost(uint64_t x) {
  __shared__ uint64_t most[kWarps];
#pragma unroll
  for (int half = kWarp / 2; half > 0; half /= 2) x = max(x, __shfl_xor_sync(kAllLanes, x, half));
  __syncthreads();  // what an earlier call found has been read
  if (Lane() == 0) most[WarpIndex()] = x;
  __syncthreads();
  uint64_t of_block = 0;
  for (uint64_t of_warp : most) of_block = max(of_block, of_warp);
  return of_block;
}

// The highest rank below `bound`; there is one.
__device__ uint64_t NextRank(const float* logits, int n, uint64_t bound) {
  uint64_t most = 0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
    const uint64_t rank = RankOf(logits[i], i);
    if (rank < bound) most = max(most, rank);
  }
  return BlockMost(most);
}

// log(sum of exp(x - most)) + most, in every thread.
__device__ double LogSum(const float* logits, int n, double most) {
  __shared__ double sums[kThreads];
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
    sum += exp(static_cast<double>(logits[i]) - most);
  }
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  __syncthreads();
  return log(sums[0]) + most;
}

__global__ void __launch_bounds__(kThreads)
    LogprobsKernel(const float* logits, int n, const LogprobRow* rows, const int32_t* ids, int k,
                   int32_t* top_ids, float* logprobs) {
  StartNext();
  WaitForPrevious();
  const auto [row, named] = rows[blockIdx.x];
  logits += int64_t{row} * n;
  top_ids += int64_t{blockIdx.x} * k;
  logprobs += int64_t{blockIdx.x} * (1 + k);
  uint64_t rank = NextRank(logits, n, ~uint64_t{0});
  const double log_sum = LogSum(logits, n, logits[ColumnOfRank(rank)]);
  const auto tell = [&](int place, int column) {
    logprobs[place] = static_cast<float>(static_cast<double>(logits[column]) - log_sum);
  };
  if (threadIdx.x == 0) tell(0, named >= 0 ? named : ids[row]);
  for (int i = 0; i < k; ++i) {
    if (threadIdx.x == 0) {
      top_ids[i] = ColumnOfRank(rank);
      tell(1 + i, ColumnOfRank(rank));
    }
    if (i + 1 < k) rank = NextRank(logits, n, rank);
  }
}

}  // namespace

void CudaBackend::Logprobs(TensorView<const float> logits, absl::Span<const LogprobRow> rows_host,
                           TensorView<const int32_t> ids, TensorView<int32_t> top_ids,
                           TensorView<float> logprobs) {
  const auto rows = static_cast<int64_t>(rows_host.size());
  const int64_t k = top_ids.cols();
  CHECK(ids.size() == logits.rows() && top_ids.rows() == rows && logprobs.rows() == rows &&
            logprobs.cols() == 1 + k && k <= logits.cols(),
        "Logprobs shapes");
  for (const auto [row, column] : rows_host) {
    CHECK(row >= 0 && row < logits.rows() && column < logits.cols(), "a row and column of the logits");
  }
  if (rows == 0) return;
  Launch(stream_, LogprobsKernel, {dim3(static_cast<unsigned>(rows)), dim3(kThreads)}, logits.data(),
         static_cast<int>(logits.cols()), staging_.Upload(rows_host), ids.data(), static_cast<int>(k),
         top_ids.data(), logprobs.data());
}

}  // namespace ternion::cuda
