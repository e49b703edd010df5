#pragma once

#include "kernels/cuda/attention_softmax.cuh"
#include "kernels/cuda/attention_tile.cuh"

// A thread block takes 16 (token, head) pairs of one KV head through one chunk of their context: each warp
// weighs one of the chunk's blocks, then each adds a quarter of the channels over all of them. Blocks that
// earlier steps wrote are fetched before the kernel before is done.
namespace ternion::cuda {

inline constexpr int kSplitRows = kWarpRows;
static_assert(kChunkBlocks == kAttentionWarps, "a warp weighs one block of a chunk");

// The shared memory of a split tile: keys of the chunk's blocks, and values of two; those of the other two
// take the place of keys that are done with.
template <int kDim>
struct SplitMemory {
  static constexpr int kWeightRowBytes = kChunkTokens * 2;
  static constexpr int kQueries = 6 * kMatrixBytes<kDim>;
  static constexpr int kWeights = kQueries + kSplitRows * kDim * 2;
  static constexpr int kMost = kWeights + kSplitRows * kWeightRowBytes;
  static constexpr int kTotals = kMost + kChunkBlocks * kSplitRows * static_cast<int>(sizeof(float));
  static constexpr int kBytes = kTotals + kChunkBlocks * kSplitRows * static_cast<int>(sizeof(float));

  __device__ SplitMemory()
      : base(SharedAddress(attention_memory)),
        most(reinterpret_cast<float*>(reinterpret_cast<char*>(attention_memory) + kMost)),
        totals(reinterpret_cast<float*>(reinterpret_cast<char*>(attention_memory) + kTotals)) {}

  __device__ uint32_t Keys(int block) const { return base + block * kMatrixBytes<kDim>; }
  __device__ uint32_t Values(int block) const { return Keys(block < 2 ? block + kChunkBlocks : block - 2); }

  const uint32_t base;
  float* const most;    // [blocks, rows]: the block's largest score
  float* const totals;  // [blocks, rows]: the sum of its weights
};

// Fetches a split tile's keys and the first two blocks' values, and the queries. Waits for the kernel before
// once what it cannot have written is on its way, and returns when queries and keys are there.
template <int kDim>
__device__ __forceinline__ void LoadSplit(const AttentionArguments& arguments,
                                          const SplitMemory<kDim>& memory, const Context& context,
                                          const QueryTile& tile, int first_block, int blocks, int settled) {
  for (int i = 0; i < blocks; ++i) ZeroKeyPadding<kDim>(memory.Keys(i), arguments.heads.head_dim);
  for (int i = 0; i < settled; ++i) context.template Keys<kDim>(memory.Keys(i), first_block + i);
  CommitCopies();
  for (int i = 0; i < min(2, settled); ++i) context.template Values<kDim>(memory.Values(i), first_block + i);
  CommitCopies();
  WaitForPrevious();
  for (int i = settled; i < blocks; ++i) context.template Keys<kDim>(memory.Keys(i), first_block + i);
  CommitCopies();
  for (int i = settled; i < min(2, blocks); ++i) {
    context.template Values<kDim>(memory.Values(i), first_block + i);
  }
  CommitCopies();
  LoadQueries<kDim, kSplitRows>(memory.base + SplitMemory<kDim>::kQueries, arguments, tile);
  if (settled == blocks) {
    AwaitCopies<3>();
  } else {
    AwaitCopies<1>();
  }
  __syncthreads();
}

// A warp's block: its weights, relative to the largest score up to it, into shared memory.
template <int kDim>
__device__ __forceinline__ void StoreWeights(const SplitMemory<kDim>& memory, float scale,
                                             const Scores& scores) {
  const int warp = WarpIndex(), row = Lane() / 4;
  PerRow most = {kMasked, kMasked}, totals;
  for (int block = 0; block <= warp; ++block) {
    most[0] = fmaxf(most[0], memory.most[block * kSplitRows + row]);
    most[1] = fmaxf(most[1], memory.most[block * kSplitRows + row + 8]);
  }
  uint32_t weights[4][4];
  WeighBlock(most, scale, scores, weights, totals);
  if (Lane() % 4 == 0) {
    memory.totals[warp * kSplitRows + row] = totals[0];
    memory.totals[warp * kSplitRows + row + 8] = totals[1];
  }
  const uint32_t matrix = memory.base + SplitMemory<kDim>::kWeights + Lane() % 4 * 4;
#pragma unroll
  for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      StoreShared(
          matrix + UnitOffset<SplitMemory<kDim>::kWeightRowBytes>(row + half * 8, warp * kScoreTiles + n),
          weights[n / 2][n % 2 * 2 + half]);
    }
  }
}

// The chunk's softmax over a warp's quarter of the channels.
template <int kDim>
__device__ __forceinline__ void AddChunk(const SplitMemory<kDim>& memory, float scale, int blocks,
                                         PartialSoftmax<kDim / 32>& softmax) {
  const int row = Lane() / 4, first_unit = WarpIndex() * (kDim / 32);
  for (int block = 0; block < blocks; ++block) {
    if (block == 2) {
      AwaitCopies<0>();
      __syncthreads();
    }
    const float* most = memory.most + block * kSplitRows + row;
    const float* totals = memory.totals + block * kSplitRows + row;
    softmax.Advance({most[0], most[8]}, scale);
    softmax.total[0] += totals[0];
    softmax.total[1] += totals[8];
#pragma unroll
    for (int group = 0; group < 4; ++group) {
      uint32_t weights[4];
      LoadLeft<SplitMemory<kDim>::kWeightRowBytes>(memory.base + SplitMemory<kDim>::kWeights,
                                                   block * kScoreTiles + group * 2, weights);
      softmax.template AddValues<kDim>(weights, memory.Values(block), group, first_unit);
    }
  }
  softmax.Settle();
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

template <int kDim>
__global__ void __launch_bounds__(kAttentionThreads, kBlocksAtOnce<kDim>)
    SplitTiles(AttentionArguments arguments) {
  StartNext();
  const int tiles = arguments.heads.kv_heads * arguments.subtiles;
  const int index = static_cast<int>(blockIdx.x) / tiles;
  const SplitPiece piece = arguments.slices.splits[index];
  if (index >= arguments.slices.counts->splits) return;
  const QueryTile tile = TileOf(arguments, piece.row, piece.tokens, piece.position,
                                static_cast<int>(blockIdx.x) % tiles, kSplitRows);
  if (tile.rows <= 0) return;
  const int first_block = piece.chunk * kChunkBlocks;
  const int blocks = min(kChunkBlocks, tile.LastPosition() / kKvBlockTokens + 1 - first_block);
  if (blocks <= 0) return;  // only later tokens of the piece see the chunk
  const int settled = min(blocks, max(0, piece.settled / kKvBlockTokens - first_block));
  const Context context = {arguments, piece.table, tile.kv_head, tile.LastPosition() + 1};
  const SplitMemory<kDim> memory;
  LoadSplit<kDim>(arguments, memory, context, tile, first_block, blocks, settled);

  const int warp = WarpIndex();
  const WarpRows rows(tile, 0);
  Scores scores;
  if (warp < blocks) {
    ScoreBlock(Queries<kDim, false>(memory.base + SplitMemory<kDim>::kQueries), memory.Keys(warp), scores);
    rows.Mask(first_block + warp, scores);
    PerRow most;
    BlockMost(scores, most);
    if (Lane() % 4 == 0) {
      memory.most[warp * kSplitRows + rows.Row(0)] = most[0];
      memory.most[warp * kSplitRows + rows.Row(1)] = most[1];
    }
  }
  __syncthreads();  // the keys are done with
  for (int i = 2; i < blocks; ++i) context.template Values<kDim>(memory.Values(i), first_block + i);
  CommitCopies();
  if (warp < blocks) StoreWeights(memory, arguments.scale, scores);
  AwaitCopies<1>();
  __syncthreads();
  PartialSoftmax<kDim / 32> softmax;
  AddChunk(memory, arguments.scale, blocks, softmax);
  const int first_channel = warp * (kDim / 4);
  if (piece.chunks == 1) {
    StoreResult(arguments, tile, rows, softmax, first_channel);
  } else {
    StorePartial(arguments, piece, tile, rows, softmax, first_channel);
  }
}

}  // namespace ternion::cuda
