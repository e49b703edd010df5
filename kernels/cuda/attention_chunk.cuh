#pragma once

#include "kernels/cuda/attention_softmax.cuh"
#include "kernels/cuda/attention_tile.cuh"

// A chunk of the context of groups of 16 rows, four warps a group: each warp weighs one of the chunk's
// blocks, then adds a quarter of the channels over all of them.
namespace ternion::cuda {

inline constexpr int kGroupWarps = kChunkBlocks;
inline constexpr int kGroupThreads = kGroupWarps * kWarp;

// The shared memory of a tile of kGroups * 16 rows. Of its matrices the first `key_matrices` are the blocks'
// keys, the next ones their values; where there are too few, values take the place of keys that are done
// with.
template <int kDim, int kGroups>
struct ChunkMemory {
  static constexpr int kThreads = kGroups * kGroupThreads;
  static constexpr int kRows = kGroups * kWarpRows;
  static constexpr int kWeightRowBytes = kChunkTokens * 2;
  static constexpr int kStatBytes = kChunkBlocks * kRows * static_cast<int>(sizeof(float));
  static constexpr int kWeights = kRows * kDim * 2;  // behind the queries
  static constexpr int kMost = kWeights + kRows * kWeightRowBytes;
  static constexpr int kTotals = kMost + kStatBytes;
  static constexpr int kMatrices = kTotals + kStatBytes;
  static constexpr int Bytes(int matrices) { return kMatrices + matrices * kMatrixBytes<kDim>; }

  __device__ ChunkMemory(int key_matrices, int matrices)
      : queries(SharedAddress(attention_memory)),
        most(reinterpret_cast<float*>(reinterpret_cast<char*>(attention_memory) + kMost)),
        totals(reinterpret_cast<float*>(reinterpret_cast<char*>(attention_memory) + kTotals)),
        own_values(matrices - key_matrices),
        key_matrices_(key_matrices) {}

  __device__ uint32_t weights() const { return queries + kWeights; }
  __device__ static uint8_t* bytes_of_weights() {
    return reinterpret_cast<uint8_t*>(attention_memory) + kWeights;
  }
  __device__ static char* matrices() { return reinterpret_cast<char*>(attention_memory) + kMatrices; }
  __device__ uint32_t Keys(int block) const { return queries + kMatrices + block * kMatrixBytes<kDim>; }
  __device__ uint32_t Values(int block) const {
    return Keys(block < own_values ? key_matrices_ + block : block - own_values);
  }

  const uint32_t queries;
  float* const most;     // [blocks, rows]: the block's largest score
  float* const totals;   // [blocks, rows]: the sum of its weights
  const int own_values;  // blocks whose values have a place of their own

 private:
  const int key_matrices_;
};

__device__ __forceinline__ int GroupOfWarp() { return WarpIndex() / kGroupWarps; }
__device__ __forceinline__ int WarpOfGroup() { return WarpIndex() % kGroupWarps; }

// How the functions below get at the keys and values of a chunk's blocks. Here they are halves in shared memory as the
// cache has them.
template <int kDim, int kGroups>
struct HalfBlocks {
  const ChunkMemory<kDim, kGroups>& memory;

  __device__ __forceinline__ void Score(uint32_t queries, int block, Scores& scores) const {
    ScoreBlock<kDim>(queries, memory.Keys(block), scores);
  }
  // Adds a block's values, of the channels from unit first_unit on, by weights [16 rows, kChunkTokens].
  __device__ __forceinline__ void Add(uint32_t weight_rows, int block, int first_unit,
                                      PartialSoftmax<kDim / 32>& softmax) const {
#pragma unroll
    for (int group = 0; group < 4; ++group) {
      uint32_t weights[4];
      LoadLeft<ChunkMemory<kDim, kGroups>::kWeightRowBytes>(weight_rows, block * kScoreTiles + group * 2,
                                                            weights);
      softmax.template AddValues<kDim>(weights, memory.Values(block), group, first_unit);
    }
  }
};

// The scores of the warp's block of the chunk, and the largest of each row into shared memory.
template <int kDim, int kGroups>
__device__ __forceinline__ void ScoreChunk(const ChunkMemory<kDim, kGroups>& memory, const auto& blocks,
                                           const WarpRows& rows, int block, Scores& scores) {
  const int index = WarpOfGroup();
  blocks.Score(memory.queries + rows.first * kDim * 2, index, scores);
  rows.Mask(block, scores);
  PerRow most;
  BlockMost(scores, rows.both, most);
  if (Lane() % 4 != 0) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    memory.most[index * ChunkMemory<kDim, kGroups>::kRows + rows.Row(half)] = most[half];
  }
}

// Their weights, relative to the largest score of the chunk up to this block, into shared memory.
template <int kDim, int kGroups>
__device__ __forceinline__ void StoreWeights(const ChunkMemory<kDim, kGroups>& memory, const WarpRows& rows,
                                             float scale, const Scores& scores) {
  using Memory = ChunkMemory<kDim, kGroups>;
  const int index = WarpOfGroup(), row = rows.Row(0);
  PerRow most = {kMasked, kMasked}, totals;
#pragma unroll
  for (int block = 0; block < kChunkBlocks; ++block) {
    if (block > index) continue;
    most[0] = fmaxf(most[0], memory.most[block * Memory::kRows + row]);
    most[1] = fmaxf(most[1], memory.most[block * Memory::kRows + row + 8]);
  }
  uint32_t weights[4][4];
  WeighBlock(most, scale, rows.both, scores, weights, totals);
  if (Lane() % 4 == 0) {
    memory.totals[index * Memory::kRows + row] = totals[0];
    memory.totals[index * Memory::kRows + row + 8] = totals[1];
  }
  const uint32_t matrix = memory.weights() + Lane() % 4 * 4;
#pragma unroll
  for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      StoreShared(matrix + UnitOffset<Memory::kWeightRowBytes>(row + half * 8, index * kScoreTiles + n),
                  weights[n / 2][n % 2 * 2 + half]);
    }
  }
}

// The softmax of the chunk's first `count` blocks over a warp's quarter of the channels.
template <int kDim, int kGroups>
__device__ __forceinline__ void AddChunk(const ChunkMemory<kDim, kGroups>& memory, const auto& blocks,
                                         const WarpRows& rows, float scale, int count,
                                         PartialSoftmax<kDim / 32>& softmax) {
  using Memory = ChunkMemory<kDim, kGroups>;
  const uint32_t weight_rows = memory.weights() + rows.first * Memory::kWeightRowBytes;
  const int first_unit = WarpOfGroup() * (kDim / 32);
#pragma unroll 1
  for (int block = 0; block < count; ++block) {
    const float* most = memory.most + block * Memory::kRows + rows.Row(0);
    const float* totals = memory.totals + block * Memory::kRows + rows.Row(0);
    softmax.Advance({most[0], most[8]}, scale, rows.both);
    softmax.total[0] += totals[0];
    softmax.total[1] += totals[8];
    blocks.Add(weight_rows, block, first_unit, softmax);
  }
  softmax.Settle();
}

}  // namespace ternion::cuda
