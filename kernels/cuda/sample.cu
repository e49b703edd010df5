// Draws from rows of logits: one block a row, which stays in L2 while the block passes over it a dozen times.
//
// Weights exp((logit - max) / temperature) are rounded to multiples of 2^-40, so every sum of them is an exact integer and
// its order does not matter. What is kept is told by one threshold on the logits, ordered as integers: all columns
// above it, and of those equal to it the first few.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/logit_order.cuh"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;
constexpr float kWeightUnits = 1099511627776.0f;  // 2^40

__device__ __forceinline__ uint64_t BlockSum(uint64_t x) {
  __shared__ uint64_t sums[kWarps];
#pragma unroll
  for (int half = kWarp / 2; half > 0; half /= 2) x += __shfl_xor_sync(kAllLanes, x, half);
  __syncthreads();  // the sums of an earlier call have been read
  if (Lane() == 0) sums[WarpIndex()] = x;
  __syncthreads();
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

// A row and what is kept of it.
struct Row {
  const float* logits;
  int n;
  float most;
  float temperature;
  // The threshold: columns of a higher order are kept, and the first `equals` of this order.
  uint32_t least = 0;
  int equals = 0;
  uint64_t least_weight = 0;  // what weighs less weighs nothing: it is not drawn

  __device__ uint64_t Weight(float logit) const {
    const uint64_t weight = __float2ull_rn(expf((logit - most) / temperature) * kWeightUnits);
    return weight < least_weight ? 0 : weight;
  }
  // Sums count(logit) over the columns whose order is at least `order`.
  template <typename Count>
  __device__ uint64_t SumFrom(uint32_t order, Count count) const {
    uint64_t sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
      if (OrderOf(logits[i]) >= order) sum += count(logits[i]);
    }
    return BlockSum(sum);
  }
  // The highest order at which the sum from there on reaches `enough`, bit by bit from the top.
  template <typename Count>
  __device__ uint32_t OrderThatReaches(uint64_t enough, Count count) const {
    uint32_t order = 0;
    for (int bit = 31; bit >= 0; --bit) {
      const uint32_t bound = order | 1u << bit;
      if (SumFrom(bound, count) >= enough) order = bound;
    }
    return order;
  }
};

__device__ __forceinline__ uint64_t One(float) { return 1; }

// The top k of all columns; k <= n.
__device__ void KeepTopK(Row& row, int k) {
  row.least = row.OrderThatReaches(static_cast<uint64_t>(k), One);
  const uint64_t above = row.least == 0xffffffffu ? 0 : row.SumFrom(row.least + 1, One);
  row.equals = k - static_cast<int>(above);
}

// The weight of one column of the threshold's order.
__device__ uint64_t WeightAtLeast(const Row& row) { return row.Weight(LogitOfOrder(row.least)); }

__device__ uint64_t KeptWeight(const Row& row) {
  const auto weigh = [&](float logit) { return row.Weight(logit); };
  const uint64_t above = row.least == 0xffffffffu ? 0 : row.SumFrom(row.least + 1, weigh);
  return above + static_cast<uint64_t>(row.equals) * WeightAtLeast(row);
}

// Of the kept columns the fewest that reach p of their weight.
__device__ void KeepTopP(Row& row, float p) {
  const auto weigh = [&](float logit) { return row.Weight(logit); };
  const uint64_t kept = KeptWeight(row);
  const auto enough = static_cast<uint64_t>(ceil(static_cast<double>(kept) * static_cast<double>(p)));
  const uint32_t least = row.OrderThatReaches(max(enough, uint64_t{1}), weigh);
  const uint64_t above = least == 0xffffffffu ? 0 : row.SumFrom(least + 1, weigh);
  Row narrowed = row;
  narrowed.least = least;
  const uint64_t each = WeightAtLeast(narrowed);
  const uint64_t missing = enough > above ? enough - above : 0;
  const auto equals = static_cast<int>((missing + each - 1) / max(each, uint64_t{1}));
  narrowed.equals = max(equals, above == 0 ? 1 : 0);
  if (least == row.least) narrowed.equals = min(narrowed.equals, row.equals);
  row = narrowed;
}

// Of the kept columns those that weigh at least p of the heaviest.
__device__ void KeepMinP(Row& row, float p) {
  row.least_weight = static_cast<uint64_t>(ceil(static_cast<double>(p) * static_cast<double>(kWeightUnits)));
}

// The first kept column at which the running weight exceeds `target`. Pieces of kThreads columns pass by in ascending
// order; a thread owns a column of each.
__device__ int FindColumn(const Row& row, uint64_t target) {
  __shared__ uint64_t weights[kWarps];
  __shared__ int equals[kWarps];
  __shared__ int found;
  if (threadIdx.x == 0) found = -1;
  uint64_t passed = 0;
  int equals_passed = 0;
  int last = 0;  // this thread's last column with a weight: what rounding leaves over falls to the row's last
  for (int begin = 0; begin < row.n; begin += kThreads) {
    const int i = begin + static_cast<int>(threadIdx.x);
    const float logit = i < row.n ? row.logits[i] : 0.0f;
    const uint32_t order = i < row.n ? OrderOf(logit) : 0;
    const bool equal = i < row.n && order == row.least;
    const unsigned equal_lanes = __ballot_sync(kAllLanes, equal);
    __syncthreads();  // the last piece's sums have been read
    if (Lane() == 0) equals[WarpIndex()] = __popc(equal_lanes);
    __syncthreads();
    int before = equals_passed + __popc(equal_lanes & ((1u << Lane()) - 1));
    for (int w = 0; w < kWarps; ++w) {
      if (w < WarpIndex()) before += equals[w];
      equals_passed += equals[w];
    }
    const bool kept = i < row.n && (order > row.least || (equal && before < row.equals));
    uint64_t running = kept ? row.Weight(logit) : 0;
    if (running > 0) last = i;
    const uint64_t own = running;
#pragma unroll
    for (int step = 1; step < kWarp; step *= 2) {
      const uint64_t below = __shfl_up_sync(kAllLanes, running, step);
      if (Lane() >= step) running += below;
    }
    if (Lane() == kWarp - 1) weights[WarpIndex()] = running;
    __syncthreads();
    running += passed;
    for (int w = 0; w < kWarps; ++w) {
      if (w < WarpIndex()) running += weights[w];
      passed += weights[w];
    }
    if (kept && running > target && running - own <= target) found = i;
    if (passed > target) break;  // the same in every thread
  }
  __syncthreads();
  const int column = found;
  const auto last_kept = static_cast<int>(__reduce_max_sync(kAllLanes, static_cast<unsigned>(last)));
  if (column >= 0) return column;
  __shared__ int lasts[kWarps];
  if (Lane() == 0) lasts[WarpIndex()] = last_kept;
  __syncthreads();
  int most = 0;
  for (int candidate : lasts) most = max(most, candidate);
  return most;
}

__device__ float MostLogit(const float* logits, int n) {
  uint32_t most = 0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) most = max(most, OrderOf(logits[i]));
  most = BlockMax(most);
  return LogitOfOrder(most);
}

__global__ void __launch_bounds__(kThreads)
    SampleKernel(const float* logits, int n, const SampleRow* rows, int32_t* ids) {
  StartNext();
  WaitForPrevious();
  const SampleRow how = rows[blockIdx.x];
  Row row{logits + int64_t{blockIdx.x} * n, n, 0, how.takes_largest() ? 1.0f : how.temperature};
  row.most = MostLogit(row.logits, n);
  if (how.takes_largest()) {
    row.least = OrderOf(row.most);
    row.equals = 1;
  } else if (how.top_k > 0 && how.top_k < n) {
    KeepTopK(row, how.top_k);
  }
  if (!how.takes_largest() && how.top_p < 1.0f) KeepTopP(row, how.top_p);
  if (!how.takes_largest() && how.min_p > 0.0f) KeepMinP(row, how.min_p);
  const auto target = static_cast<uint64_t>(how.uniform * static_cast<double>(KeptWeight(row)));
  const int column = FindColumn(row, target);
  if (threadIdx.x == 0) ids[blockIdx.x] = column;
}

}  // namespace

void CudaBackend::Sample(TensorView<const float> logits, absl::Span<const SampleRow> rows_host,
                         TensorView<int32_t> ids) {
  CHECK(ids.size() == logits.rows() && static_cast<int64_t>(rows_host.size()) == logits.rows(),
        "Sample shapes");
  CHECK(logits.cols() > 0 && logits.cols() < (int64_t{1} << 22), "Sample: the weights of a row fit 63 bits");
  if (logits.rows() == 0) return;
  const SampleRow* const rows = staging_.Upload(rows_host);
  Launch(stream_, SampleKernel, {dim3(static_cast<unsigned>(logits.rows())), dim3(kThreads)}, logits.data(),
         static_cast<int>(logits.cols()), rows, ids.data());
}

}  // namespace ternion::cuda
