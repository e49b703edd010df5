#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/float_kernels.h"
#include "kernels/kv.h"
#include "kernels/tensor.h"

namespace ternion::cpu {

// What every tile of one Attention call shares.
struct AttentionStep {
  const FloatKernels& kernels;
  TensorView<const float> qkv;  // [T, (query_heads + 2 * kv_heads) * head_dim]
  const HeadShard& heads;
  const KvLayer& cache;
  TensorView<float> out;  // [T, query_heads * head_dim]

  int padded() const { return (heads.head_dim + kAttentionLanes - 1) / kAttentionLanes * kAttentionLanes; }
};

// Rows of one slice and the query heads that read one KV head: the unit that shares the loads of a block.
// Query i of the tile is row i / query_heads, head query_begin + i % query_heads.
struct AttentionTile {
  const KvSlice* slice = nullptr;
  int kv_head = 0;
  int query_begin = 0;
  int query_heads = 0;
  int64_t row_begin = 0;  // in the slice
  int64_t rows = 0;

  int64_t queries() const { return rows * query_heads; }
  int64_t position(int64_t query) const { return slice->position + row_begin + query / query_heads; }
  // Blocks up to the last query's own.
  int64_t blocks() const { return position(queries() - 1) / kKvBlockTokens + 1; }
};

// Tiles of at most kTileQueries queries, which cover every slice.
inline constexpr int64_t kTileQueries = 32;
std::vector<AttentionTile> TilesOf(const AttentionStep& step, absl::Span<const KvSlice> slices);

}  // namespace ternion::cpu
