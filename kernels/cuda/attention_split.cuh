#pragma once

#include "kernels/cuda/attention_chunk.cuh"
#include "kernels/cuda/attention_merge.cuh"
#include "kernels/cuda/attention_turn.cuh"

// A thread block takes 16 (token, head) pairs of one KV head through one chunk of their context; the one that
// ends last of the pairs' chunks merges them. What earlier steps wrote of the chunk is fetched before the
// kernel before is done.
namespace ternion::cuda {

template <int kDim>
using SplitMemory = ChunkMemory<kDim, 1>;
inline constexpr int kSplitRows = kWarpRows;

// A tile's share of its piece's chunk.
struct SplitChunk {
  int first_block;
  int blocks;  // that the tile sees

  __device__ SplitChunk(const SplitPiece& piece, const QueryTile& tile)
      : first_block(piece.chunk * kChunkBlocks),
        blocks(min(kChunkBlocks, tile.LastPosition() / kKvBlockTokens + 1 - first_block)) {}
};

template <int kDim>
struct SplitLoader {
  using Memory = SplitMemory<kDim>;
  const AttentionArguments& arguments;
  const Memory& memory;
  const SplitPiece& piece;
  const QueryTile& tile;
  const SplitChunk& chunk;

  // Blocks [begin, end) of the chunk, of which the first `tokens` absolute positions are there.
  __device__ void Keys(int begin, int end, int tokens) const {
#pragma unroll 1
    for (int i = begin; i < end; ++i) {
      LoadKeys<kDim, Memory::kThreads>(memory.Keys(i),
                                       KvBlock(arguments, Pick(piece.blocks, i), tile.kv_head),
                                       arguments.heads.head_dim, tokens - Position(i));
    }
  }
  __device__ void Values(int begin, int end, int tokens) const {
    const int dim = arguments.heads.head_dim;
#pragma unroll 1
    for (int i = begin; i < end; ++i) {
      const __half* const from =
          KvBlock(arguments, Pick(piece.blocks, i), tile.kv_head) + kKvBlockTokens * dim;
      LoadValues<kDim, Memory::kThreads>(memory.Values(i), from, dim, tokens - Position(i));
    }
  }
  __device__ int Position(int block) const { return (chunk.first_block + block) * kKvBlockTokens; }
};

// Queries and keys, and the values that have a place of their own, from the cache alone. Waits for the kernel
// before once what it cannot have written is on its way; returns when queries and keys are there.
template <int kDim>
__device__ __forceinline__ void LoadSplit(const SplitLoader<kDim>& loader) {
  const int blocks = loader.chunk.blocks, values = min(blocks, loader.memory.own_values);
  const int settled = min(blocks, max(0, loader.piece.settled / kKvBlockTokens - loader.chunk.first_block));
  const int tokens = loader.tile.LastPosition() + 1;
  loader.Keys(0, settled, tokens);
  CommitCopies();
  loader.Values(0, min(values, settled), tokens);
  CommitCopies();
  WaitForPrevious();
  loader.Keys(settled, blocks, tokens);
  CommitCopies();
  loader.Values(min(values, settled), values, tokens);
  CommitCopies();
  LoadQueries<kDim, kSplitRows, SplitMemory<kDim>::kThreads>(loader.memory.queries, loader.arguments,
                                                             loader.tile);
  if (settled == blocks) {
    AwaitCopies<3>();
  } else {
    AwaitCopies<1>();
  }
  __syncthreads();
}

// The step's tokens of the tile's chunk.
__device__ __forceinline__ FreshTokens FreshOf(const SplitPiece& piece, const QueryTile& tile,
                                               const SplitChunk& chunk) {
  const int begin = max(piece.settled, chunk.first_block * kKvBlockTokens);
  const int end = min(tile.LastPosition() + 1, (chunk.first_block + kChunkBlocks) * kKvBlockTokens);
  const bool last_tile = tile.first + tile.rows == piece.tokens * tile.heads;
  return {begin, max(0, end - begin), chunk.first_block, last_tile};
}

// The same of queries, keys and values that are not yet turned, which are written to the cache.
template <int kDim>
__device__ __forceinline__ void TurnSplit(const SplitLoader<kDim>& loader, const FreshTokens& fresh,
                                          const Turner<kDim>& turner) {
  constexpr int kAhead = 2, kThreads = SplitMemory<kDim>::kThreads;
  const int blocks = loader.chunk.blocks, values = min(blocks, loader.memory.own_values);
  const int settled = loader.piece.settled;
  loader.Keys(0, blocks, settled);
  loader.Values(0, values, settled);
  CommitCopies();
  for (int i = static_cast<int>(threadIdx.x); i < kSplitRows * kDim / kUnitHalves; i += kThreads) {
    ZeroUnit(loader.memory.queries + i * kUnitBytes);
  }
  const int placed_end = loader.Position(values);
  const int placed = max(0, min(fresh.count, placed_end - fresh.position));
  const int items = (loader.tile.rows + fresh.count + placed) * Turner<kDim>::kQuads;
#pragma unroll 1
  for (int begin = 0; begin < items; begin += kAhead * kThreads) {
    Quad quads[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      turner.Begin(begin + i * kThreads + static_cast<int>(threadIdx.x), placed, quads[i]);
    }
    if (begin == 0) WaitForPrevious();
#pragma unroll
    for (int i = 0; i < kAhead; ++i) turner.Load(quads[i]);
    if (begin == 0) {
      AwaitCopies<0>();
      __syncthreads();  // what is fresh goes over what was copied
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) turner.Store(quads[i]);
  }
  __syncthreads();
}

// The values that took the place of keys.
template <int kDim, bool kTurn>
__device__ __forceinline__ void LoadLateValues(const SplitLoader<kDim>& loader, const FreshTokens& fresh,
                                               const Turner<kDim>& turner) {
  constexpr int kThreads = SplitMemory<kDim>::kThreads;
  const int begin = loader.memory.own_values;
  loader.Values(begin, loader.chunk.blocks, kTurn ? loader.piece.settled : loader.tile.LastPosition() + 1);
  CommitCopies();
  const int first = max(0, loader.Position(begin) - fresh.position);
  if (!kTurn || begin >= loader.chunk.blocks || first >= fresh.count) return;
  AwaitCopies<0>();
  __syncthreads();
  const int before = loader.tile.rows + fresh.count + first;  // queries, keys, values
  const int items = (fresh.count - first) * Turner<kDim>::kQuads;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < items; i += kThreads) {
    Quad quad;
    turner.Begin(before * Turner<kDim>::kQuads + i, fresh.count, quad);
    turner.Load(quad);
    turner.Store(quad);
  }
}

template <int kTiles>
__device__ __forceinline__ void StorePartial(const AttentionArguments& arguments, const SplitPiece& piece,
                                             const QueryTile& tile, const WarpRows& rows,
                                             const PartialSoftmax<kTiles>& softmax, int first_channel) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = rows.Row(half);
    if (r >= tile.rows) continue;
    const int64_t record = int64_t{piece.record + tile.Token(r)} * arguments.heads.query_heads + tile.Head(r);
    if (threadIdx.x < kWarp && Lane() % 4 == 0) {
      arguments.record_stats[record] = {softmax.most[half], softmax.total[half]};
    }
    float* const sums = arguments.record_sums + record * arguments.heads.head_dim;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const int channel = first_channel + n * 8 + Lane() % 4 * 2;
      if (channel >= arguments.heads.head_dim) continue;
      *reinterpret_cast<float2*>(sums + channel) = {softmax.sums[n][half * 2], softmax.sums[n][half * 2 + 1]};
    }
  }
}

// A chunk's result, of a warp's quarter of the channels; where it is the last of the tile's chunks to end, their merged
// one.
template <int kDim>
__device__ __forceinline__ void StoreChunk(const AttentionArguments& arguments, const SplitPiece& piece,
                                           const QueryTile& tile, const WarpRows& rows,
                                           const PartialSoftmax<kDim / 32>& softmax) {
  const int first_channel = WarpIndex() * (kDim / 4), chunks = tile.LastPosition() / kChunkTokens + 1;
  if (chunks == 1) return StoreResult(arguments, tile, rows, softmax, first_channel);
  StorePartial(arguments, piece, tile, rows, softmax, first_channel);
  // Counted where the first chunk's tile would be.
  const int64_t first = (int64_t{blockIdx.z} * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x - piece.chunk;
  if (!LastToArrive(arguments.arrivals + first, chunks)) return;
  const int heads = arguments.heads.query_heads;
#pragma unroll 1
  for (int r = WarpIndex(); r < tile.rows; r += kGroupWarps) {
    const int64_t record = piece.record - piece.chunk * piece.tokens + tile.Token(r);
    MergeRow<kDim>(arguments, record * heads + tile.Head(r), int64_t{piece.tokens} * heads,
                   tile.Position(r) / kChunkTokens + 1, OutRow(arguments, tile, r));
  }
}

template <int kDim, bool kTurn>
__global__ void __launch_bounds__(SplitMemory<kDim>::kThreads) SplitTiles(AttentionArguments arguments) {
  StartNext();
  const SplitPiece piece = arguments.slices.splits[blockIdx.x];
  const QueryTile tile = TileOf(arguments, piece.row, piece.tokens, piece.position,
                                static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z), kSplitRows);
  if (tile.rows <= 0) return;
  const SplitChunk chunk(piece, tile);
  if (chunk.blocks <= 0) return;  // only later tokens of the piece see the chunk
  const SplitMemory<kDim> memory(arguments.key_matrices, arguments.matrices);
  const SplitLoader<kDim> loader = {arguments, memory, piece, tile, chunk};
  const FreshTokens fresh = FreshOf(piece, tile, chunk);
  const Turner<kDim> turner(arguments, memory, piece, tile, fresh);
  if constexpr (kTurn) {
    TurnSplit(loader, fresh, turner);
  } else {
    LoadSplit(loader);
  }

  const WarpRows rows(tile, 0);
  const bool visible = WarpIndex() < chunk.blocks;
  Scores scores;
  const HalfBlocks<kDim, 1> halves = {memory};
  if (visible) ScoreChunk(memory, halves, rows, chunk.first_block + WarpIndex(), scores);
  __syncthreads();  // the keys are done with
  LoadLateValues<kDim, kTurn>(loader, fresh, turner);
  if (visible) StoreWeights(memory, rows, arguments.scale, scores);
  AwaitCopies<0>();
  __syncthreads();
  PartialSoftmax<kDim / 32> softmax;
  AddChunk(memory, halves, rows, arguments.scale, chunk.blocks, softmax);
  StoreChunk<kDim>(arguments, piece, tile, rows, softmax);
}

}  // namespace ternion::cuda
