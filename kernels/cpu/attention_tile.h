#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/scratch.h"
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

// Softmax of a tile's queries over some blocks, before the division: borrowed memory.
struct PartialSoftmax {
  float* most;   // [queries]
  float* total;  // [queries]
  float* sums;   // [queries, padded]

  // Floats of one, for a tile of `queries`.
  static int64_t Size(int64_t queries, int padded) { return queries * (2 + padded); }
  static PartialSoftmax At(float* memory, int64_t queries) {
    return {memory, memory + queries, memory + 2 * queries};
  }
};

// One thread's work on a tile.
class AttentionTileRun {
 public:
  AttentionTileRun(const AttentionStep& step, const AttentionTile& tile);

  // Softmax over block `index` alone, of the queries that see it: from FirstQuery(index) on.
  void Block(int64_t index, PartialSoftmax block);
  // Merges block `index` into that of the blocks before it; block 0 is stored as it is.
  void Merge(int64_t index, PartialSoftmax block, PartialSoftmax running) const;
  // Divides, and writes the rows of out.
  void Finish(PartialSoftmax running) const;

 private:
  int64_t FirstQuery(int64_t index) const;
  const float* Keys(int64_t index);
  const float* Values(int64_t index);
  void SumValues(const float* values, int64_t first, float* sums);

  const AttentionStep& step_;
  const AttentionTile& tile_;
  const int padded_;
  Scratch<float> query_;   // [queries, head_dim]
  Scratch<float> block_;   // keys [head_dim, 64], then values [64, padded]
  Scratch<float> scores_;  // [queries, 64], then weights
  Scratch<int> used_;      // [queries] slots of the block that a query sees
};

}  // namespace ternion::cpu
