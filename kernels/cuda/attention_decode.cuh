#pragma once

#include "kernels/cuda/attention_merge.cuh"
#include "kernels/cuda/attention_softmax.cuh"
#include "kernels/cuda/attention_token.cuh"

// One token of each sequence: a thread block takes up to 16 query heads of one KV head through one chunk of
// the token's context; the one that ends last of the token's chunks merges them. At short contexts bound by
// latency: everything that the kernel before does not write is fetched and worked out before it is done, the
// code itself among it, and every step of what is left is shared by all eight warps.
namespace ternion::cuda {

// A warp takes 16 of the positions of every other block.
template <int kDim>
__device__ __forceinline__ void ScoreParts(const DecodeMemory<kDim>& memory, const DecodeTile& tile) {
  const int part = WarpIndex() % 4, g = Lane() / 4, q = Lane() % 4;
#pragma unroll 1
  for (int block = WarpIndex() / 4; block < tile.blocks; block += kDecodeWarps / 4) {
    float scores[2][4] = {};
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k) {
      uint32_t a[4], b[4];
      LoadLeft<kDim * 2>(memory.queries(), k * 2, a);
      LoadRight<kKeyRowBytes>(memory.Keys(block), k * 16, part * 2, b);
      MultiplyAdd(scores[0], a, b[0], b[1]);
      MultiplyAdd(scores[1], a, b[2], b[3]);
    }
    // The column that the token sees, from the lane's first one.
    const int last = tile.Settled(block) - part * 16 - q * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (half >= memory.halves) continue;
      float most = kMasked;
      auto* const to = reinterpret_cast<float2*>(memory.Scores(block, half)) + part * 2 * kWarp + Lane();
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        float2 pair = {scores[n][half * 2], scores[n][half * 2 + 1]};
        if (n * 8 > last) pair.x = kMasked;
        if (n * 8 + 1 > last) pair.y = kMasked;
        to[n * kWarp] = pair;
        most = fmaxf(most, fmaxf(pair.x, pair.y));
      }
      most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 1));
      most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 2));
      if (q == 0) memory.Most(block)[(half * kHalfRows + g) * 4 + part] = most;
    }
  }
}

// A warp takes 8 rows of a block: the same operations as WeighBlock and PartialSoftmax::Advance.
template <int kDim>
__device__ __forceinline__ void WeighRows(const DecodeMemory<kDim>& memory, const DecodeTile& tile,
                                          float scale) {
  const int block = WarpIndex() % 4, half = WarpIndex() / 4, g = Lane() / 4, q = Lane() % 4;
  if (block >= tile.blocks || half >= memory.halves) return;
  const int row = half * kHalfRows + g;
  float before = kMasked, most = kMasked;
#pragma unroll 1
  for (int i = 0; i <= block; ++i) {
    const float4 parts = *reinterpret_cast<const float4*>(memory.Most(i) + row * 4);
    before = most;
    most = fmaxf(most, fmaxf(fmaxf(parts.x, parts.y), fmaxf(parts.z, parts.w)));
  }
  char* const place = memory.Scores(block, half);
  const auto* const scores = reinterpret_cast<const float2*>(place) + Lane();
  const float base = most == kMasked ? 0.0f : -(most * scale);
  float total = 0;
  uint32_t weights[kScoreTiles];
#pragma unroll
  for (int n = 0; n < kScoreTiles; ++n) {
    const float2 score = scores[n * kWarp];
    const float low = PowerOf2(__fmaf_rn(score.x, scale, base));
    const float high = PowerOf2(__fmaf_rn(score.y, scale, base));
    total += low;
    total += high;
    weights[n] = PackHalves(low, high);
  }
  total += __shfl_xor_sync(kAllLanes, total, 1);
  total += __shfl_xor_sync(kAllLanes, total, 2);
  if (q == 0) memory.Stats(block)[row] = {most, Rescale(before, most, scale), total};
  __syncwarp();  // weights take the place of scores
  const uint32_t to = SharedAddress(place) + g * kKeyRowBytes + q * 4;
#pragma unroll
  for (int n = 0; n < kScoreTiles; ++n) StoreShared(to + (n ^ g) * kUnitBytes, weights[n]);
}

// Warps that add values; a warp's channels are kDim / kValueWarps.
template <int kDim>
inline constexpr int kValueWarps = kDim / 16 < kDecodeWarps ? kDim / 16 : kDecodeWarps;
template <int kDim>
inline constexpr int kValueTiles = kDim / kValueWarps<kDim> / 8;

template <int kDim>
__device__ __forceinline__ void AddValues(const DecodeMemory<kDim>& memory, const DecodeTile& tile,
                                          PartialSoftmax<kValueTiles<kDim>>& softmax) {
  const int lane = Lane(), row = lane % 8, half = min(lane % 16 / 8, memory.halves - 1);
#pragma unroll 1
  for (int block = 0; block < tile.blocks; ++block) {
    const BlockStat* const stats = memory.Stats(block) + lane / 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (i >= memory.halves) continue;
      const BlockStat stat = stats[i * kHalfRows];
      softmax.most[i] = stat.most;
      softmax.total[i] *= stat.factor;
      softmax.total[i] += stat.total;
#pragma unroll
      for (int n = 0; n < kValueTiles<kDim>; ++n) {
        softmax.sums[n][i * 2] *= stat.factor;
        softmax.sums[n][i * 2 + 1] *= stat.factor;
      }
    }
    const uint32_t weight_row = SharedAddress(memory.Scores(block, half)) + row * kKeyRowBytes;
#pragma unroll
    for (int group = 0; group < kKvBlockTokens / 16; ++group) {
      uint32_t weights[4];
      LoadMatrices(weight_row + ((group * 2 + lane / 16) ^ row) * kUnitBytes, weights);
      softmax.template AddValues<kDim>(weights, memory.Values(block), group, WarpIndex() * kValueTiles<kDim>);
    }
  }
  softmax.Settle();
}

// The lane's rows into the result, or into the chunk's records; nothing of a rehearsal.
template <int kTiles>
__device__ __forceinline__ void StoreTile(const AttentionArguments& arguments, const DecodeTile& tile,
                                          bool rehearsal, const PartialSoftmax<kTiles>& softmax) {
  const int dim = arguments.heads.head_dim, first_channel = WarpIndex() * kTiles * 8 + Lane() % 4 * 2;
  const bool alone = tile.piece.position < kChunkTokens;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = half * kHalfRows + Lane() / 4, head = tile.first_head + r;
    if (r >= tile.rows) continue;
    float* to = arguments.out + tile.piece.row * arguments.out_stride + head * dim;
    if (!alone) {
      const int64_t record = int64_t{tile.piece.record} * arguments.heads.query_heads + head;
      to = arguments.record_sums + record * dim;
      if (!rehearsal && threadIdx.x < kWarp && Lane() % 4 == 0) {
        arguments.record_stats[record] = {softmax.most[half], softmax.total[half]};
      }
    }
    const float factor = 1.0f / softmax.total[half];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const int channel = first_channel + n * 8;
      if (channel >= dim || rehearsal) continue;
      float2 sums = {softmax.sums[n][half * 2], softmax.sums[n][half * 2 + 1]};
      if (alone) sums = {sums.x * factor, sums.y * factor};
      *reinterpret_cast<float2*>(to + channel) = sums;
    }
  }
}

// The tile's rows, where it is the last of their chunks to end.
template <int kDim>
__device__ __forceinline__ void MergeTile(const AttentionArguments& arguments, const DecodeTile& tile) {
  const int chunks = tile.piece.position / kChunkTokens + 1, dim = arguments.heads.head_dim;
  // Counted where the first chunk's tile would be.
  const int64_t index = (int64_t{blockIdx.z} * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  if (!LastToArrive(arguments.arrivals + index - tile.piece.chunk, chunks)) return;
  const int64_t heads = arguments.heads.query_heads;
#pragma unroll 1
  for (int r = WarpIndex(); r < tile.rows; r += kDecodeWarps) {
    const int head = tile.first_head + r;
    MergeRow<kDim>(arguments, (tile.piece.record - tile.piece.chunk) * heads + head, heads, chunks,
                   arguments.out + tile.piece.row * arguments.out_stride + head * dim);
  }
}

// kMany: some contexts have several chunks.
template <int kDim, bool kMany>
__global__ void __launch_bounds__(kDecodeThreads, 2)
    DecodeTiles(const __grid_constant__ AttentionArguments arguments) {
  StartNext();
  const DecodeTile tile(arguments);
  if (tile.rows == 0) return;
  const DecodeMemory<kDim> memory(arguments);
  FetchKeys(arguments, memory, tile);
  CommitCopies();
  FetchValues(arguments, memory, tile, 0, min(tile.blocks, memory.own_values));
  CommitCopies();
  for (int i = static_cast<int>(threadIdx.x); i < kWarpRows * kDim / kUnitHalves; i += kDecodeThreads) {
    ZeroUnit(memory.queries() + i * kUnitBytes);
  }
  bool rehearsal = !kMany && arguments.rehearse;  // it fetches the code
#pragma unroll 1
  while (true) {
    LateValue late;
    TurnTile(arguments, memory, tile, rehearsal, late);
    ScoreParts(memory, tile);
    __syncthreads();  // scores are there, keys done with
    if (tile.blocks > memory.own_values && !rehearsal) {
      FetchValues(arguments, memory, tile, memory.own_values, tile.blocks);
      CommitCopies();
      if (late.to != 0) StoreShared(late.to, late.halves);
    }
    WeighRows(memory, tile, arguments.scale);
    AwaitCopies<0>();
    __syncthreads();  // weights and values are there
    if (WarpIndex() < kValueWarps<kDim>) {
      PartialSoftmax<kValueTiles<kDim>> softmax;
      AddValues(memory, tile, softmax);
      StoreTile(arguments, tile, rehearsal, softmax);
    }
    if (!rehearsal) break;
    rehearsal = false;
    __syncthreads();
  }
  if (kMany && tile.piece.position >= kChunkTokens) MergeTile<kDim>(arguments, tile);
}

}  // namespace ternion::cuda
