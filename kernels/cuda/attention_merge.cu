// Merges the chunks of rows that splits over a packed cache left in records: a warp takes 32 channels of a row and head, a
// lane one of them, with 32 chunks on their way at a time. Bound by latency.
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_merge.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 128;

// Blocks x take rows, warps of blocks y 32 channels of a head.
__global__ void __launch_bounds__(kThreads) MergeRows(const __grid_constant__ AttentionArguments arguments) {
  StartNext();
  const int dim = arguments.heads.head_dim, parts = static_cast<int>(CeilDivide(dim, kWarp));
  const int item = static_cast<int>(blockIdx.y) * (kThreads / kWarp) + WarpIndex();
  const int64_t row = blockIdx.x, heads = arguments.heads.query_heads, head = item / parts;
  const int channel = item % parts * kWarp + Lane();
  const RowRecords records = arguments.slices.row_records[row];
  if (records.first < 0 || head >= heads) return;
  const int chunks = arguments.slices.row_position[row] / kChunkTokens + 1;
  WaitForPrevious();
  float most = kMasked, total = 0, sum = 0;
#pragma unroll 1
  for (int begin = 0; begin < chunks; begin += kWarp) {
    const int count = min(kWarp, chunks - begin);
    const int64_t first = (records.first + int64_t{begin} * records.stride) * heads + head,
                  stride = records.stride * heads;
    float2 stat = {kMasked, 0};
    if (Lane() < count) stat = __ldcg(arguments.record_stats + first + Lane() * stride);
    float x[kWarp];
#pragma unroll
    for (int i = 0; i < kWarp; ++i) {
      if (i < count && channel < dim)
        x[i] = __ldcg(arguments.record_sums + (first + i * stride) * dim + channel);
    }
    const unsigned seen = __ballot_sync(kAllLanes, stat.x != kMasked);
    const LaneFactors lane = FactorsOfLanes(stat, arguments.scale, most);
#pragma unroll
    for (int i = 0; i < kWarp; ++i) {
      const float before = __shfl_sync(kAllLanes, lane.factors.before, i);
      const float now = __shfl_sync(kAllLanes, lane.factors.now, i);
      const float chunk_total = __shfl_sync(kAllLanes, lane.total, i);
      if ((seen >> i & 1) == 0) continue;
      total = total * before + chunk_total;
      sum = sum * before + x[i] * now;
    }
  }
  if (channel < dim) arguments.out[row * arguments.out_stride + head * dim + channel] = sum * (1.0f / total);
}

}  // namespace

void LaunchMerge(const Stream& stream, const AttentionArguments& arguments) {
  const HeadShard& heads = arguments.heads;
  const int64_t items = heads.query_heads * CeilDivide(heads.head_dim, kWarp);
  const dim3 grid(static_cast<unsigned>(arguments.slices.rows),
                  static_cast<unsigned>(CeilDivide(items, kThreads / kWarp)));
  Launch(stream, MergeRows, {grid, dim3(kThreads)}, arguments);
}

}  // namespace ternion::cuda
