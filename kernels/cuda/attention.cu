// Causal attention over the paged cache, on tensor cores: queries, keys, values and weights are halves, sums
// are floats.
//
// Numerics: a row goes through the blocks of a chunk (kChunkTokens absolute positions) in ascending order,
// rescaling its sums where a block has a larger score; chunks are merged in ascending order. Every kernel
// does these very operations for a row, so that its bits do not depend on which kernel and which tile it
// falls to.
//
// Prefill walks (attention_walk.cuh), bound by tensor cores and shared memory. Decode splits contexts by
// chunks (attention_split.cuh), bound by reading the cache, and a kernel here merges them.
#include <algorithm>
#include <cmath>

#include "kernels/cuda/attention_split.cuh"
#include "kernels/cuda/attention_walk.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"

namespace ternion::cuda {
namespace {

// One query of a split token, two channels a thread. A few records are on their way at a time.
__global__ void __launch_bounds__(kAttentionThreads) MergeRecords(AttentionArguments arguments) {
  constexpr int kBatch = 8;
  StartNext();
  const int heads = arguments.heads.query_heads, dim = arguments.heads.head_dim;
  const int index = static_cast<int>(blockIdx.x) / heads, head = static_cast<int>(blockIdx.x) % heads;
  const SplitRow row = arguments.slices.split_rows[index];
  if (index >= arguments.slices.counts->split_rows) return;
  WaitForPrevious();
  const int channel = static_cast<int>(threadIdx.x) * 2;
  if (channel >= dim) return;
  float most = kMasked, total = 0;
  float2 sums = {0, 0};
  for (int begin = 0; begin < row.chunks; begin += kBatch) {
    float2 chunk_stats[kBatch], chunk_sums[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (begin + i >= row.chunks) continue;
      const int64_t record = (row.record + int64_t{begin + i} * row.stride) * heads + head;
      chunk_stats[i] = arguments.record_stats[record];
      chunk_sums[i] = *reinterpret_cast<const float2*>(arguments.record_sums + record * dim + channel);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (begin + i >= row.chunks || chunk_stats[i].x == kMasked) continue;
      const MergeFactors factors = FactorsOf(most, chunk_stats[i].x, arguments.scale);
      most = factors.most;
      total = Merged(factors, total, chunk_stats[i].y);
      sums = {Merged(factors, sums.x, chunk_sums[i].x), Merged(factors, sums.y, chunk_sums[i].y)};
    }
  }
  const float inverse = 1.0f / total;
  float* const out = arguments.out + row.row * arguments.out_stride + int64_t{head} * dim + channel;
  *reinterpret_cast<float2*>(out) = {sums.x * inverse, sums.y * inverse};
}

void LaunchTiles(const Stream& stream, void (*kernel)(AttentionArguments), int shared_bytes, int64_t pieces,
                 int64_t piece_rows, int64_t tile_rows, AttentionArguments arguments) {
  if (pieces == 0) return;
  arguments.subtiles = static_cast<int>(CeilDivide(piece_rows, tile_rows));
  AllowSharedMemory(kernel, shared_bytes);
  Launch(stream, kernel,
         {dim3(static_cast<unsigned>(pieces * arguments.heads.kv_heads * arguments.subtiles)),
          dim3(kAttentionThreads), static_cast<size_t>(shared_bytes)},
         arguments);
}

template <int kDim>
void LaunchAttention(const Stream& stream, const AttentionPlan& plan, const AttentionArguments& arguments) {
  const HeadShard& heads = arguments.heads;
  const int64_t most_heads = std::min(heads.queries_per_kv, heads.query_heads);  // that read one KV head
  LaunchTiles(stream, WalkTiles<kDim>, kWalkBytes<kDim>, plan.walks, kWalkTokens * most_heads, kWalkRows,
              arguments);
  LaunchTiles(stream, SplitTiles<kDim>, SplitMemory<kDim>::kBytes, plan.splits,
              plan.split_tokens * most_heads, kSplitRows, arguments);
  if (plan.split_rows == 0) return;
  Launch(stream, MergeRecords,
         {dim3(static_cast<unsigned>(plan.split_rows * heads.query_heads)), dim3(kDim / 2)}, arguments);
}

}  // namespace

void CudaBackend::Attention(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                            const KvLayer& cache, TensorView<float> out) {
  const int64_t dim = heads.head_dim;
  CHECK(heads.kv_heads == cache.kv_heads && dim == cache.head_dim, "Attention: the cache has other heads");
  CHECK(qkv.cols() == (heads.query_heads + 2 * heads.kv_heads) * dim, "Attention shapes");
  CHECK(out.rows() == qkv.rows() && out.cols() == heads.query_heads * dim, "Attention shapes");
  CHECK(cache.format == KvFormat::kF16, "Attention: halves on CUDA");
  CHECK(dim > 0 && dim % 2 == 0 && dim <= 256, "Attention: an even head_dim up to 256 on CUDA");
  slices_.CheckCache(slices, out.rows(), cache.blocks);
  if (heads.query_heads == 0) return;
  const AttentionPlan& plan = slices_.plan();
  const int64_t records = plan.records * heads.query_heads;
  float* const sums = records == 0 ? nullptr : Scratch<float>(Purpose::kPartials, records * (dim + 2));
  const AttentionArguments arguments = {
      .qkv = qkv.data(),
      .qkv_stride = qkv.cols(),
      .out = out.data(),
      .out_stride = out.cols(),
      .cache = static_cast<const __half*>(cache.data),
      .heads = heads,
      .subtiles = 0,
      .scale = static_cast<float>(M_LOG2E / std::sqrt(static_cast<double>(dim))),
      .record_sums = sums,
      .record_stats = reinterpret_cast<float2*>(sums + records * dim),
      .slices = slices_.device(),
  };
  if (dim <= 64) return LaunchAttention<64>(launch_stream(), plan, arguments);
  if (dim <= 128) return LaunchAttention<128>(launch_stream(), plan, arguments);
  LaunchAttention<256>(launch_stream(), plan, arguments);
}

}  // namespace ternion::cuda
