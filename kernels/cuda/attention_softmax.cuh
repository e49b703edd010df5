#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/attention_tile.cuh"

// The arithmetic of a query row: the same instructions in the same order in every kernel of attention.cu.
namespace ternion::cuda {

inline constexpr float kMasked = -INFINITY;

// Per lane, of its rows lane / 4 and lane / 4 + 8 of the warp's 16. Scores are q . k, not yet scaled.
using Scores = float[kScoreTiles][4];
using PerRow = float[2];

// `queries`: the warp's 16 rows of kDim channels in shared memory.
template <int kDim>
__device__ __forceinline__ void ScoreBlock(uint32_t queries, uint32_t keys, Scores& scores) {
#pragma unroll
  for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[n][i] = 0;
  }
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
    uint32_t a[4];
    LoadLeft<kDim * 2>(queries, k * 2, a);
#pragma unroll
    for (int n = 0; n < kScoreTiles; n += 2) {
      uint32_t b[4];
      LoadRight<kKeyRowBytes>(keys, k * 16, n, b);
      MultiplyAdd(scores[n], a, b[0], b[1]);
      MultiplyAdd(scores[n + 1], a, b[2], b[3]);
    }
  }
}

// Takes out what a row does not see: positions after its own. The block begins at position `begin`. Here and
// below `both` tells that the lane's second row exists; otherwise nothing is done for it.
__device__ __forceinline__ void MaskBlock(int begin, const int (&positions)[2], bool both, Scores& scores) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (half == 1 && !both) continue;
    const int last =
        positions[half] - begin - Lane() % 4 * 2;  // column that it sees, from the lane's first one
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (n * 8 + i > last) scores[n][half * 2 + i] = kMasked;
      }
    }
  }
}

__device__ __forceinline__ void BlockMost(const Scores& scores, bool both, PerRow& most) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    most[half] = kMasked;
    if (half == 1 && !both) continue;
    float m = kMasked;
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) m = fmaxf(m, fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
    m = fmaxf(m, __shfl_xor_sync(kAllLanes, m, 1));
    most[half] = fmaxf(m, __shfl_xor_sync(kAllLanes, m, 2));
  }
}

// Turns scores into weights 2^(scale * (score - most)), as left operands of the block's four groups of 16
// positions, and their sums.
__device__ __forceinline__ void WeighBlock(const PerRow& most, float scale, bool both, const Scores& scores,
                                           uint32_t (&weights)[4][4], PerRow& sums) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sums[half] = 0;
    if (half == 1 && !both) {
#pragma unroll
      for (int n = 0; n < kScoreTiles; ++n) weights[n / 2][n % 2 * 2 + half] = 0;
      continue;
    }
    const float base = most[half] == kMasked ? 0.0f : -(most[half] * scale);
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
      const float low = PowerOf2(__fmaf_rn(scores[n][half * 2], scale, base));
      const float high = PowerOf2(__fmaf_rn(scores[n][half * 2 + 1], scale, base));
      sum += low;
      sum += high;
      weights[n / 2][n % 2 * 2 + half] = PackHalves(low, high);
    }
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sums[half] = sum + __shfl_xor_sync(kAllLanes, sum, 2);
  }
}

// What sums relative to `old` are multiplied with to be relative to `most`.
__device__ __forceinline__ float Rescale(float old, float most, float scale) {
  return most == kMasked ? 1.0f : PowerOf2((old - most) * scale);
}

// Softmax of a lane's two rows over some positions, before the division, for kTiles tiles of 8 channels.
template <int kTiles>
struct PartialSoftmax {
  PerRow most = {kMasked, kMasked};
  PerRow total = {0, 0};
  float sums[kTiles][4] = {};

  __device__ __forceinline__ void Reset() { *this = PartialSoftmax(); }

  // Makes room for a block of which `block_most` is the largest score.
  __device__ __forceinline__ void Advance(const PerRow& block_most, float scale, bool both) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (half == 1 && !both) continue;
      const float next = fmaxf(most[half], block_most[half]);
      const float factor = Rescale(most[half], next, scale);
      most[half] = next;
      total[half] *= factor;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        sums[n][half * 2] *= factor;
        sums[n][half * 2 + 1] *= factor;
      }
    }
  }

  // Adds weights . values for the channels from unit first_unit on, 16 positions at a time.
  template <int kDim>
  __device__ __forceinline__ void AddValues(const uint32_t (&weights)[4], uint32_t values, uint32_t group,
                                            uint32_t first_unit) {
#pragma unroll
    for (int n = 0; n < kTiles; n += 2) {
      uint32_t b[4];
      LoadRight<kDim * 2>(values, group * 16, first_unit + n, b);
      MultiplyAdd(sums[n], weights, b[0], b[1]);
      MultiplyAdd(sums[n + 1], weights, b[2], b[3]);
    }
  }

  // Ends a chunk: no sum is -0, which it might or might not have become.
  __device__ __forceinline__ void Settle() {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[n][i] += 0.0f;
    }
  }
};

// How a chunk's result (relative to `chunk_most`) joins the chunks before it: x * before + chunk_x * now.
struct MergeFactors {
  float most, before, now;
};
__device__ __forceinline__ MergeFactors FactorsOf(float most, float chunk_most, float scale) {
  const float next = fmaxf(most, chunk_most);
  return {next, Rescale(most, next, scale), Rescale(chunk_most, next, scale)};
}
__device__ __forceinline__ float Merged(const MergeFactors& factors, float before, float chunk) {
  return before * factors.before + chunk * factors.now;
}

// The 16 rows of a tile that a warp attends to.
struct WarpRows {
  int first;           // in the tile
  int positions[2];    // of the lane's two rows
  int first_position;  // before any block that ends here, nothing is masked
  int last_position;   // -1: no rows
  bool both;           // rows from the eighth on exist

  __device__ WarpRows(const QueryTile& tile, int first_row)
      : first(first_row), both(tile.rows > first_row + kWarpRows / 2) {
    positions[0] = tile.Position(Row(0));
    positions[1] = tile.Position(Row(1));
    first_position = first + kWarpRows <= tile.rows ? tile.Position(first) : -1;
    last_position = first < tile.rows ? tile.Position(min(first + kWarpRows, tile.rows) - 1) : -1;
  }
  __device__ int Row(int half) const { return first + Lane() / 4 + half * 8; }
  __device__ void Mask(int block, Scores& scores) const {
    const int begin = block * kKvBlockTokens;
    if (begin + kKvBlockTokens - 1 > first_position) MaskBlock(begin, positions, both, scores);
  }
};

// Writes sums / total of the lane's rows; `first_channel` is the first tile's.
template <int kTiles>
__device__ __forceinline__ void StoreResult(const AttentionArguments& arguments, const QueryTile& tile,
                                            const WarpRows& rows, const PartialSoftmax<kTiles>& softmax,
                                            int first_channel) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = rows.Row(half);
    if (r >= tile.rows) continue;
    float* const out = OutRow(arguments, tile, r);
    const float inverse = 1.0f / softmax.total[half];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const int channel = first_channel + n * 8 + Lane() % 4 * 2;
      if (channel >= arguments.heads.head_dim) continue;
      *reinterpret_cast<float2*>(out + channel) = {softmax.sums[n][half * 2] * inverse,
                                                   softmax.sums[n][half * 2 + 1] * inverse};
    }
  }
}

}  // namespace ternion::cuda
