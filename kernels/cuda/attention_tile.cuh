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

inline constexpr int kWarpRows = 16;
inline constexpr int kKeyRowBytes = kKvBlockTokens * 2;
inline constexpr int kScoreTiles = kKvBlockTokens / 8;

struct AttentionArguments {
  const float* qkv;
  int64_t qkv_stride;
  float* out;
  int64_t out_stride;
  void* cache;
  KvFormat format;
  HeadShard heads;
  int query_bits;        // KvLayer's
  int key_matrices;      // in shared memory, of a SplitPiece's blocks
  int matrices;          // of keys and values
  int row_halves;        // of 8 rows, in DecodeMemory
  bool rehearse;         // do all once before waiting for the kernel before
  float scale;           // log2(e) / sqrt(head_dim): weights are powers of 2
  float* record_sums;    // [records, query_heads, head_dim]
  float2* record_stats;  // [records, query_heads]: most, total
  int32_t* arrivals;     // [subtiles, kv_heads, splits]: chunks whose results are there
  const float* cos_sin;  // [positions, head_dim], for queries and keys that are not yet turned
  DeviceSlices slices;
};

extern __shared__ uint4 attention_memory[];

// Bytes of a block's matrix, of keys or of values.
template <int kDim>
inline constexpr int kMatrixBytes{kDim * 2 * kKvBlockTokens};
// Row r of a tile is pair first + r of a piece's (token, query head of one KV head) pairs, heads together.
struct QueryTile {
  int row;       // of the step, of the piece's first token
  int position;  // of it
  int first;
  int rows;
  int heads;         // query heads here that read the KV head
  uint32_t inverse;  // 2^32 / heads, rounded up; nothing for one head
  int query_head;    // the first of them
  int kv_head;

  __device__ int Token(int r) const {
    const int pair = first + r;
    return heads == 1 ? pair : static_cast<int>(__umulhi(static_cast<uint32_t>(pair), inverse));
  }
  __device__ int Head(int r) const { return query_head + first + r - Token(r) * heads; }
  // -1 behind the last row: it sees nothing.
  __device__ int Position(int r) const { return r < rows ? position + Token(r) : -1; }
  __device__ int LastPosition() const { return Position(rows - 1); }
};

// A piece's tile of a KV head: its share of the pairs. It may have no rows.
__device__ __forceinline__ QueryTile TileOf(const AttentionArguments& arguments, int row, int tokens,
                                            int position, int kv_head, int subtile, int tile_rows) {
  const HeadShard& shard = arguments.heads;
  const int begin = max(0, (shard.kv_begin + kv_head) * shard.queries_per_kv - shard.query_begin);
  const int end =
      min(shard.query_heads, (shard.kv_begin + kv_head + 1) * shard.queries_per_kv - shard.query_begin);
  const int first = subtile * tile_rows, heads = max(0, end - begin);
  const uint32_t inverse = 0xffffffffu / static_cast<uint32_t>(max(1, heads)) + 1;
  return {row, position, first, min(tile_rows, tokens * heads - first), heads, inverse, begin, kv_head};
}

// The i-th of a chunk's blocks, without memory for an array.
__device__ __forceinline__ int Pick(const int32_t (&blocks)[kChunkBlocks], int i) {
  int block = blocks[0];
#pragma unroll
  for (int j = 1; j < kChunkBlocks; ++j) block = i == j ? blocks[j] : block;
  return block;
}

// Keys, and behind them values, of a KV head in a block of the cache.
__device__ __forceinline__ __half* KvBlock(const AttentionArguments& arguments, int64_t block, int kv_head) {
  return static_cast<__half*>(arguments.cache) +
         (block * arguments.heads.kv_heads + kv_head) * 2 * kKvBlockTokens * arguments.heads.head_dim;
}

// Of packed formats: its sides, `bytes` in all.
__device__ __forceinline__ char* PackedBlock(const AttentionArguments& arguments, int64_t block, int kv_head,
                                             int bytes) {
  return static_cast<char*>(arguments.cache) + (block * arguments.heads.kv_heads + kv_head) * bytes;
}

// What follows is done by kThreads threads, of which this is the number of one.
template <int kThreads>
__device__ __forceinline__ int ThreadOf() {
  return static_cast<int>(threadIdx.x) % kThreads;
}

// Rows of keys beyond the head's channels; copies leave them alone.
template <int kDim, int kThreads>
__device__ __forceinline__ void ZeroKeyPadding(uint32_t keys, int dim) {
#pragma unroll 1
  for (int i = dim * kScoreTiles + ThreadOf<kThreads>(); i < kDim * kScoreTiles; i += kThreads) {
    ZeroUnit(keys + i * kUnitBytes);
  }
}

// Keys of at least the block's first `tokens` positions.
template <int kDim, int kThreads>
__device__ __forceinline__ void LoadKeys(uint32_t keys, const __half* from, int dim, int tokens) {
  constexpr int kStep = kThreads / kScoreTiles;
  static_assert(kStep % 8 == 0, "a thread's units are turned alike");
  ZeroKeyPadding<kDim, kThreads>(keys, dim);
  const int unit = ThreadOf<kThreads>() % kScoreTiles, channel = ThreadOf<kThreads>() / kScoreTiles;
  if (unit * kUnitHalves >= tokens) return;
  const uint32_t to = keys + UnitOffset<kKeyRowBytes>(channel, unit);
  from += channel * kKvBlockTokens + unit * kUnitHalves;
#pragma unroll
  for (int step = 0; step < kDim / kStep; ++step) {
    if (channel + step * kStep < dim) {
      CopyUnit(to + step * kStep * kKeyRowBytes, from + step * kStep * kKvBlockTokens);
    }
  }
}

// Of rows that are not aligned. Not inlined: it is the rare road of LoadValues.
template <int kDim, int kThreads>
__device__ __noinline__ void LoadValuesByPairs(uint32_t values, const __half* from, int dim, int tokens) {
  constexpr int kPairs = kDim / 2;
#pragma unroll 1
  for (int i = ThreadOf<kThreads>(); i < kKvBlockTokens * kPairs; i += kThreads) {
    const int token = i / kPairs, pair = i % kPairs;
    if (pair * 2 >= dim) continue;
    CopyPairOrZero(values + UnitOffset<kDim * 2>(token, pair / 4) + pair % 4 * 4,
                   from + token * dim + pair * 2, token < tokens);
  }
}

// Zeros for positions from `tokens` on, whose memory may hold anything: a weight of 0 does not silence a NaN.
template <int kDim, int kThreads>
__device__ __forceinline__ void LoadValues(uint32_t values, const __half* from, int dim, int tokens) {
  if (dim % kUnitHalves != 0) return LoadValuesByPairs<kDim, kThreads>(values, from, dim, tokens);
  constexpr int kUnits = kDim / kUnitHalves;
  constexpr int kStep = kThreads / kUnits;
  const int unit = ThreadOf<kThreads>() % kUnits, first = ThreadOf<kThreads>() / kUnits;
  if (unit * kUnitHalves >= dim) return;
  from += first * dim + unit * kUnitHalves;
  const uint32_t to = values + UnitOffset<kDim * 2>(first, unit);
#pragma unroll
  for (int step = 0; step < kKvBlockTokens / kStep; ++step) {
    const int token = first + step * kStep;
    const uint32_t place =
        kStep % 8 == 0 ? to + step * kStep * kDim * 2 : values + UnitOffset<kDim * 2>(token, unit);
    CopyUnitOrZero(place, from, token < tokens);
    from += kStep * dim;
  }
}

// A query in a head of `dim` channels, of which lane l has l, l + 32, ..., rounded to codes of 4 bits (KvLayer::query_bits).
template <int kLaneChannels>
__device__ __forceinline__ void RoundQuery(float (&x)[kLaneChannels]) {
  constexpr float kLevels = 7;
  float most = 0;
#pragma unroll
  for (int j = 0; j < kLaneChannels; ++j) most = fmaxf(most, fabsf(x[j]));
  most = WarpMax(most);
  const float factor = kLevels / most, step = most / kLevels;
#pragma unroll
  for (int j = 0; j < kLaneChannels; ++j) x[j] = most == 0 ? 0 : rintf(x[j] * factor) * step;
}
// Such a query, or zeros in channels that do not exist, as row `row` of a tile's.
template <int kDim>
__device__ __forceinline__ void StoreQueryRow(uint32_t queries, int row, const float (&x)[kDim / kWarp]) {
#pragma unroll
  for (int j = 0; j < kDim / kWarp; ++j) {
    const int channel = j * kWarp + Lane();
    StoreSharedHalf(queries + UnitOffset<kDim * 2>(row, channel / kUnitHalves) + channel % kUnitHalves * 2,
                    __float2half_rn(x[j]));
  }
}

// LoadQueries for queries that are rounded to codes first: a warp takes a row.
template <int kDim, int kRows, int kThreads>
__device__ __forceinline__ void LoadRoundedQueries(uint32_t queries, const AttentionArguments& arguments,
                                                   const QueryTile& tile) {
  const int dim = arguments.heads.head_dim;
#pragma unroll 1
  for (int r = ThreadOf<kThreads>() / kWarp; r < kRows; r += kThreads / kWarp) {
    const float* const from =
        arguments.qkv + (tile.row + tile.Token(r)) * arguments.qkv_stride + tile.Head(r) * dim;
    float x[kDim / kWarp];
#pragma unroll
    for (int j = 0; j < kDim / kWarp; ++j) {
      const int channel = j * kWarp + Lane();
      x[j] = r < tile.rows && channel < dim ? from[channel] : 0;
    }
    RoundQuery(x);
    StoreQueryRow<kDim>(queries, r, x);
  }
}

// The tile's queries rounded to halves; zeros in rows and channels that do not exist.
template <int kDim, int kRows, int kThreads>
__device__ __forceinline__ void LoadQueries(uint32_t queries, const AttentionArguments& arguments,
                                            const QueryTile& tile) {
  if (arguments.query_bits > 0) return LoadRoundedQueries<kDim, kRows, kThreads>(queries, arguments, tile);
  constexpr int kPairs = kDim / 2;
  const int dim = arguments.heads.head_dim;
#pragma unroll 4
  for (int i = ThreadOf<kThreads>(); i < kRows * kPairs; i += kThreads) {
    const int r = i / kPairs, pair = i % kPairs;
    float2 value = {0, 0};
    if (r < tile.rows && pair * 2 < dim) {
      value = *reinterpret_cast<const float2*>(
          arguments.qkv + (tile.row + tile.Token(r)) * arguments.qkv_stride + tile.Head(r) * dim + pair * 2);
    }
    StoreShared(queries + UnitOffset<kDim * 2>(r, pair / 4) + pair % 4 * 4, PackHalves(value.x, value.y));
  }
}

// The place of the tile's row r in the result: [head_dim].
__device__ __forceinline__ float* OutRow(const AttentionArguments& arguments, const QueryTile& tile, int r) {
  return arguments.out + (tile.row + tile.Token(r)) * arguments.out_stride +
         static_cast<int64_t>(tile.Head(r)) * arguments.heads.head_dim;
}

}  // namespace ternion::cuda
