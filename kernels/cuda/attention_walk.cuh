#pragma once

#include "kernels/cuda/attention_softmax.cuh"
#include "kernels/cuda/attention_tile.cuh"

// A thread block takes 64 (token, head) pairs of one KV head through all blocks of their context, 16 a warp,
// with the next block's K and V on their way.
namespace ternion::cuda {

inline constexpr int kWalkRows = kAttentionWarps * kWarpRows;

// Merges a finished chunk into the chunks before it and begins the next.
template <int kTiles>
__device__ __forceinline__ void MergeChunk(float scale, PartialSoftmax<kTiles>& chunk,
                                           PartialSoftmax<kTiles>& all) {
  chunk.Settle();
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
  chunk.Reset();
}

template <int kDim>
__device__ __forceinline__ void WalkBlock(const AttentionArguments& arguments, const Queries<kDim>& queries,
                                          const WarpRows& rows, int block, uint32_t keys, uint32_t values,
                                          PartialSoftmax<kDim / 8>& chunk) {
  Scores scores;
  ScoreBlock(queries, keys, scores);
  rows.Mask(block, scores);
  PerRow most, sums;
  BlockMost(scores, most);
  chunk.Advance(most, arguments.scale);
  uint32_t weights[4][4];
  WeighBlock(chunk.most, arguments.scale, scores, weights, sums);
  chunk.total[0] += sums[0];
  chunk.total[1] += sums[1];
#pragma unroll
  for (int group = 0; group < 4; ++group) chunk.template AddValues<kDim>(weights[group], values, group, 0);
}

template <int kDim>
inline constexpr int kWalkBytes{kDim * 2 * kWalkRows + 4 * kMatrixBytes<kDim>};

template <int kDim>
__global__ void __launch_bounds__(kAttentionThreads, kBlocksAtOnce<kDim>)
    WalkTiles(AttentionArguments arguments) {
  StartNext();
  const int tiles = arguments.heads.kv_heads * arguments.subtiles;
  const int index = static_cast<int>(blockIdx.x) / tiles;
  const WalkPiece piece = arguments.slices.walks[index];
  if (index >= arguments.slices.counts->walks) return;
  const QueryTile tile = TileOf(arguments, piece.row, piece.tokens, piece.position,
                                static_cast<int>(blockIdx.x) % tiles, kWalkRows);
  if (tile.rows <= 0) return;
  const uint32_t query_matrix = SharedAddress(attention_memory);
  const uint32_t stages = query_matrix + kWalkRows * kDim * 2;  // 2 of keys and values
  const auto keys = [&](int block) { return stages + block % 2 * 2 * kMatrixBytes<kDim>; };
  const auto values = [&](int block) { return keys(block) + kMatrixBytes<kDim>; };
  const Context context = {arguments, piece.table, tile.kv_head, tile.LastPosition() + 1};
  ZeroKeyPadding<kDim>(keys(0), arguments.heads.head_dim);
  ZeroKeyPadding<kDim>(keys(1), arguments.heads.head_dim);
  WaitForPrevious();

  context.template Keys<kDim>(keys(0), 0);
  context.template Values<kDim>(values(0), 0);
  CommitCopies();
  LoadQueries<kDim, kWalkRows>(query_matrix, arguments, tile);
  __syncthreads();
  const WarpRows rows(tile, WarpIndex() * kWarpRows);
  const Queries<kDim> queries(query_matrix + rows.first * kDim * 2);
  PartialSoftmax<kDim / 8> chunk, all;
  const int blocks = tile.LastPosition() / kKvBlockTokens + 1;
  for (int block = 0; block < blocks; ++block) {
    if (block + 1 < blocks) {
      context.template Keys<kDim>(keys(block + 1), block + 1);
      context.template Values<kDim>(values(block + 1), block + 1);
    }
    CommitCopies();
    AwaitCopies<1>();
    __syncthreads();
    if (block * kKvBlockTokens <= rows.last_position) {
      WalkBlock<kDim>(arguments, queries, rows, block, keys(block), values(block), chunk);
    }
    if ((block + 1) % kChunkBlocks == 0 || block + 1 == blocks) MergeChunk(arguments.scale, chunk, all);
    __syncthreads();  // the next copies overwrite this block
  }
  StoreResult(arguments, tile, rows, all, 0);
}

}  // namespace ternion::cuda
