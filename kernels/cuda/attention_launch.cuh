#pragma once

#include <algorithm>

#include "kernels/cuda/attention_split.cuh"
#include "kernels/cuda/cuda_backend.h"

// Grids of attention's kernels, and the launches that attention.cu leaves to other files.
namespace ternion::cuda {

// Query heads that read one KV head, at most.
inline int64_t MostHeads(const HeadShard& heads) { return std::min(heads.queries_per_kv, heads.query_heads); }

inline void LaunchTiles(const Stream& stream, void (*kernel)(AttentionArguments), dim3 grid, int threads,
                        int shared_bytes, const AttentionArguments& arguments) {
  AllowSharedMemory(kernel, shared_bytes);
  Launch(stream, kernel, {grid, dim3(static_cast<unsigned>(threads)), static_cast<size_t>(shared_bytes)},
         arguments);
}

// Tiles of `rows` rows.
inline dim3 WalkGrid(const AttentionPlan& plan, const HeadShard& heads, int rows) {
  return dim3(static_cast<unsigned>(CeilDivide(kWalkTokens * MostHeads(heads), rows)),
              static_cast<unsigned>(heads.kv_heads), static_cast<unsigned>(plan.walks));
}
inline dim3 SplitGrid(const AttentionPlan& plan, const HeadShard& heads) {
  return dim3(static_cast<unsigned>(plan.splits), static_cast<unsigned>(heads.kv_heads),
              static_cast<unsigned>(CeilDivide(plan.split_tokens * MostHeads(heads), kSplitRows)));
}

// launch.operator()<kDim>() of the kernels for a head of so many channels.
void WithHeadDim(int dim, auto launch) {
  if (dim <= 64) return launch.template operator()<64>();
  if (dim <= 128) return launch.template operator()<128>();
  launch.template operator()<256>();
}

// Of a packed cache.
void LaunchPackedWalks(const Stream& stream, const AttentionPlan& plan, const AttentionArguments& arguments);
void LaunchPackedSplits(const CudaBackend& backend, const AttentionPlan& plan, AttentionArguments arguments);
// Merges the chunks of the step's rows that have records.
void LaunchMerge(const Stream& stream, const AttentionArguments& arguments);
// Whether a split's tile can turn queries and keys and write to the cache: it then has all that read the token's KV head.
inline bool PackedSplitsTurn(const AttentionPlan& plan, const HeadShard& heads) {
  const int dim = heads.head_dim;
  return plan.split_tokens == 1 && MostHeads(heads) <= kSplitRows && (dim == 64 || dim == 128 || dim == 256);
}

}  // namespace ternion::cuda
