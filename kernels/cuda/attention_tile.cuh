#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/kv_slices.h"
#include "kernels/kv.h"

// Tiles of query rows that share K and V, and what they load. kDim is the head's channels rounded up to 64,
// 128 or 256. Matrices in shared memory hold halves: a block's keys [kDim, 64] and values [64, kDim], and
// queries [rows, kDim]. Keys and queries are zero in the channels beyond the head's.
namespace ternion::cuda {

inline constexpr int kAttentionThreads = 128;
inline constexpr int kAttentionWarps = kAttentionThreads / kWarp;
inline constexpr int kWarpRows = 16;
inline constexpr int kKeyRowBytes = kKvBlockTokens * 2;
inline constexpr int kScoreTiles = kKvBlockTokens / 8;

struct AttentionArguments {
  const float* qkv;
  int64_t qkv_stride;
  float* out;
  int64_t out_stride;
  const __half* cache;
  HeadShard heads;
  int subtiles;          // tiles of a piece and a KV head, for the piece of most tokens
  float scale;           // log2(e) / sqrt(head_dim): weights are powers of 2
  float* record_sums;    // [records, query_heads, head_dim]
  float2* record_stats;  // [records, query_heads]: most, total
  DeviceSlices slices;
};

extern __shared__ uint4 attention_memory[];

// Bytes of a block's matrix, of keys or of values.
template <int kDim>
inline constexpr int kMatrixBytes{kDim * 2 * kKvBlockTokens};
// Thread blocks on a multiprocessor.
template <int kDim>
inline constexpr int kBlocksAtOnce = kDim <= 128 ? 2 : 1;

// Row r of a tile is pair first + r of a piece's (token, query head of one KV head) pairs, heads together.
struct QueryTile {
  int row;       // of the step, of the piece's first token
  int position;  // of it
  int first;
  int rows;
  int heads;       // query heads here that read the KV head
  int query_head;  // the first of them
  int kv_head;

  __device__ int Token(int r) const { return (first + r) / heads; }
  __device__ int Head(int r) const { return query_head + (first + r) % heads; }
  // -1 behind the last row: it sees nothing.
  __device__ int Position(int r) const { return r < rows ? position + Token(r) : -1; }
  __device__ int LastPosition() const { return Position(rows - 1); }
};

// Tile `index` of a piece: its KV head and its share of the pairs. It may have no rows.
__device__ __forceinline__ QueryTile TileOf(const AttentionArguments& arguments, int row, int tokens,
                                            int position, int index, int tile_rows) {
  const HeadShard& shard = arguments.heads;
  const int kv_head = index / arguments.subtiles;
  const int begin = max(0, (shard.kv_begin + kv_head) * shard.queries_per_kv - shard.query_begin);
  const int end =
      min(shard.query_heads, (shard.kv_begin + kv_head + 1) * shard.queries_per_kv - shard.query_begin);
  const int first = index % arguments.subtiles * tile_rows;
  const int heads = max(0, end - begin);
  return {row, position, first, min(tile_rows, tokens * heads - first), heads, begin, kv_head};
}

// Keys, and behind them values, of the tile's KV head in block `index` of the piece's context.
__device__ __forceinline__ const __half* KvBlock(const AttentionArguments& arguments, int table, int index,
                                                 int kv_head) {
  const int64_t block = arguments.slices.tables[table + index];
  return arguments.cache +
         (block * arguments.heads.kv_heads + kv_head) * 2 * kKvBlockTokens * arguments.heads.head_dim;
}

// Rows of keys beyond the head's channels, once: copies leave them alone.
template <int kDim>
__device__ __forceinline__ void ZeroKeyPadding(uint32_t keys, int dim) {
  for (int i = dim * kScoreTiles + static_cast<int>(threadIdx.x); i < kDim * kScoreTiles;
       i += kAttentionThreads) {
    ZeroUnit(keys + i * kUnitBytes);
  }
}

template <int kDim>
__device__ __forceinline__ void LoadKeys(uint32_t keys, const __half* from, int dim) {
#pragma unroll
  for (int step = 0; step < kDim * kScoreTiles / kAttentionThreads; ++step) {
    const uint32_t i = threadIdx.x + step * kAttentionThreads;
    if (i < static_cast<uint32_t>(dim) * kScoreTiles) {
      CopyUnit(keys + UnitOffset<kKeyRowBytes>(i / kScoreTiles, i % kScoreTiles), from + i * kUnitHalves);
    }
  }
}

template <int kDim>
__device__ __forceinline__ void LoadValuesByPairs(uint32_t values, const __half* from, int dim, int tokens) {
  constexpr int kPairs = kDim / 2;
  for (int i = static_cast<int>(threadIdx.x); i < kKvBlockTokens * kPairs; i += kAttentionThreads) {
    const int token = i / kPairs, pair = i % kPairs;
    if (pair * 2 >= dim) continue;
    CopyPairOrZero(values + UnitOffset<kDim * 2>(token, pair / 4) + pair % 4 * 4,
                   from + token * dim + pair * 2, token < tokens);
  }
}

// Zeros for positions from `tokens` on, whose memory may hold anything: a weight of 0 does not silence a NaN.
template <int kDim>
__device__ __forceinline__ void LoadValues(uint32_t values, const __half* from, int dim, int tokens) {
  if (dim % kUnitHalves != 0) {  // rows are not aligned
    return LoadValuesByPairs<kDim>(values, from, dim, tokens);
  }
  constexpr int kUnits = kDim / kUnitHalves;
  constexpr int kStep = kAttentionThreads / kUnits;
  const int unit = static_cast<int>(threadIdx.x % kUnits);
  if (unit * kUnitHalves >= dim) return;
#pragma unroll
  for (int step = 0; step < kKvBlockTokens / kStep; ++step) {
    const int token = static_cast<int>(threadIdx.x / kUnits) + step * kStep;
    CopyUnitOrZero(values + UnitOffset<kDim * 2>(token, unit), from + token * dim + unit * kUnitHalves,
                   token < tokens);
  }
}

// The tile's queries rounded to halves; zeros in rows and channels that do not exist.
template <int kDim, int kRows>
__device__ __forceinline__ void LoadQueries(uint32_t queries, const AttentionArguments& arguments,
                                            const QueryTile& tile) {
  constexpr int kPairs = kDim / 2;
  const int dim = arguments.heads.head_dim;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPairs; i += kAttentionThreads) {
    const int r = i / kPairs, pair = i % kPairs;
    float2 value = {0, 0};
    if (r < tile.rows && pair * 2 < dim) {
      value = *reinterpret_cast<const float2*>(
          arguments.qkv + (tile.row + tile.Token(r)) * arguments.qkv_stride + tile.Head(r) * dim + pair * 2);
    }
    StoreShared(queries + UnitOffset<kDim * 2>(r, pair / 4) + pair % 4 * 4, PackHalves(value.x, value.y));
  }
}

// What of a context is loaded into which matrix.
struct Context {
  const AttentionArguments& arguments;
  int table;
  int kv_head;
  int tokens;  // that the tile sees

  template <int kDim>
  __device__ void Keys(uint32_t to, int block) const {
    LoadKeys<kDim>(to, KvBlock(arguments, table, block, kv_head), arguments.heads.head_dim);
  }
  template <int kDim>
  __device__ void Values(uint32_t to, int block) const {
    const int dim = arguments.heads.head_dim;
    LoadValues<kDim>(to, KvBlock(arguments, table, block, kv_head) + kKvBlockTokens * dim, dim,
                     tokens - block * kKvBlockTokens);
  }
};

// The place of the tile's row r in the result: [head_dim].
__device__ __forceinline__ float* OutRow(const AttentionArguments& arguments, const QueryTile& tile, int r) {
  return arguments.out + (tile.row + tile.Token(r)) * arguments.out_stride +
         static_cast<int64_t>(tile.Head(r)) * arguments.heads.head_dim;
}

}  // namespace ternion::cuda
