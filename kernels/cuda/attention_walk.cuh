#pragma once

#include "kernels/cuda/attention_chunk.cuh"

// A thread block takes some groups of 16 (token, head) pairs of one KV head through all chunks of their
// context, with the next chunk's K and V on their way.
namespace ternion::cuda {

// Shared memory holds four groups and a whole chunk, or of wide heads two groups and not all values.
template <int kDim>
inline constexpr int kWalkGroups = kDim <= 128 ? 4 : 2;
template <int kDim>
inline constexpr int kWalkMatrices = kDim <= 128 ? 2 * kChunkBlocks : kChunkBlocks + 2;
template <int kDim>
using WalkMemory = ChunkMemory<kDim, kWalkGroups<kDim>>;

// Merges a chunk into the chunks before it.
template <int kTiles>
__device__ __forceinline__ void MergeChunk(float scale, const PartialSoftmax<kTiles>& chunk,
                                           PartialSoftmax<kTiles>& all) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (chunk.most[half] == kMasked) continue;
    const MergeFactors factors = FactorsOf(all.most[half], chunk.most[half], scale);
    all.most[half] = factors.most;
    all.total[half] = Merged(factors, all.total[half], chunk.total[half]);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = half * 2; i < half * 2 + 2; ++i) {
        all.sums[n][i] = Merged(factors, all.sums[n][i], chunk.sums[n][i]);
      }
    }
  }
}

// Fetches the blocks of a tile's context, each group of warps its share of a chunk.
template <int kDim>
struct WalkLoader {
  static constexpr int kGroups = kWalkGroups<kDim>;
  static constexpr int kShare = kChunkBlocks / kGroups;
  const AttentionArguments& arguments;
  const WalkMemory<kDim>& memory;
  const int32_t* table;  // the slice's
  int kv_head;
  int tokens;  // that the tile sees
  int blocks;

  __device__ static int IndexOf(int share) { return GroupOfWarp() + share * kGroups; }
  // Where the group's blocks of the chunk lie in the cache.
  __device__ void Find(int chunk, int (&found)[kShare]) const {
#pragma unroll
    for (int i = 0; i < kShare; ++i) {
      const int block = chunk * kChunkBlocks + IndexOf(i);
      found[i] = block < blocks ? table[block] : 0;
    }
  }
  __device__ __forceinline__ void Keys(int chunk, const int (&found)[kShare]) const {
#pragma unroll
    for (int i = 0; i < kShare; ++i) {
      const int block = chunk * kChunkBlocks + IndexOf(i);
      if (block >= blocks) continue;
      LoadKeys<kDim, kGroupThreads>(memory.Keys(IndexOf(i)), KvBlock(arguments, found[i], kv_head),
                                    arguments.heads.head_dim, tokens - block * kKvBlockTokens);
    }
  }
  // Of the chunk's blocks [begin, end).
  __device__ __forceinline__ void Values(int chunk, const int (&found)[kShare], int begin, int end) const {
    const int dim = arguments.heads.head_dim;
#pragma unroll
    for (int i = 0; i < kShare; ++i) {
      const int index = IndexOf(i), block = chunk * kChunkBlocks + index;
      if (block >= blocks || index < begin || index >= end) continue;
      const __half* const from = KvBlock(arguments, found[i], kv_head) + kKvBlockTokens * dim;
      LoadValues<kDim, kGroupThreads>(memory.Values(index), from, dim, tokens - block * kKvBlockTokens);
    }
  }
};

template <int kDim>
__global__ void __launch_bounds__(WalkMemory<kDim>::kThreads, 1) WalkTiles(AttentionArguments arguments) {
  using Memory = WalkMemory<kDim>;
  constexpr bool kOwnValues = kWalkMatrices<kDim> == 2 * kChunkBlocks;
  StartNext();
  // The tiles of a piece, which has a longer context than the next one, start together.
  const WalkPiece piece = arguments.slices.walks[blockIdx.z];
  const QueryTile tile = TileOf(arguments, piece.row, piece.tokens, piece.position,
                                static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x), Memory::kRows);
  if (tile.rows <= 0) return;
  const Memory memory(kChunkBlocks, kWalkMatrices<kDim>);
  const int tokens = tile.LastPosition() + 1;
  const WalkLoader<kDim> loader = {
      arguments,    memory, arguments.slices.tables + piece.table,
      tile.kv_head, tokens, static_cast<int>(CeilDivide(tokens, kKvBlockTokens))};
  int found[WalkLoader<kDim>::kShare];
  loader.Find(0, found);
  WaitForPrevious();
  loader.Keys(0, found);
  CommitCopies();
  loader.Values(0, found, 0, memory.own_values);
  CommitCopies();
  LoadQueries<kDim, Memory::kRows, Memory::kThreads>(memory.queries, arguments, tile);

  const HalfBlocks<kDim, kWalkGroups<kDim>> halves = {memory};
  const WarpRows rows(tile, GroupOfWarp() * kWarpRows);
  PartialSoftmax<kDim / 32> all;
  for (int chunk = 0; chunk * kChunkBlocks < loader.blocks; ++chunk) {
    int next[WalkLoader<kDim>::kShare];
    loader.Find(chunk + 1, next);
    const int block = chunk * kChunkBlocks + WarpOfGroup();
    const bool visible = block * kKvBlockTokens <= rows.last_position;
    AwaitCopies<1>();
    __syncthreads();  // the keys are there
    Scores scores;
    if (visible) ScoreChunk(memory, halves, rows, block, scores);
    __syncthreads();  // the keys are done with
    if constexpr (kOwnValues) {
      loader.Keys(chunk + 1, next);
    } else {
      loader.Values(chunk, found, memory.own_values, kChunkBlocks);
    }
    CommitCopies();
    if (visible) StoreWeights(memory, rows, arguments.scale, scores);
    AwaitCopies<kOwnValues ? 1 : 0>();
    __syncthreads();  // weights and values are there
    const int blocks = rows.last_position < 0 ? 0 : rows.last_position / kKvBlockTokens + 1;
    PartialSoftmax<kDim / 32> softmax;
    AddChunk(memory, halves, rows, arguments.scale, min(kChunkBlocks, blocks - chunk * kChunkBlocks),
             softmax);
    MergeChunk(arguments.scale, softmax, all);
    __syncthreads();  // values and weights are done with
    if constexpr (!kOwnValues) {
      loader.Keys(chunk + 1, next);
      CommitCopies();
    }
    loader.Values(chunk + 1, next, 0, memory.own_values);
    CommitCopies();
#pragma unroll
    for (int i = 0; i < WalkLoader<kDim>::kShare; ++i) found[i] = next[i];
  }
  StoreResult(arguments, tile, rows, all, WarpOfGroup() * (kDim / 4));
}

}  // namespace ternion::cuda
