#pragma once

#include "kernels/cuda/attention_chunk.cuh"
#include "kernels/cuda/packed_kv_unpack.cuh"

// Right operands that a warp unpacks in registers, where they stand in the order in which it multiplies them: some 70
// instructions for 1,024 codes by its 32 lanes.
namespace ternion::cuda {

// HalfBlocks of a packed cache. Units beyond the head's are taken like the others: what lies there is finite where queries,
// which are zero in their channels, meet it, and makes channels of values that nobody stores.
template <int kDim, KvFormat kFormat>
struct PackedBlocks {
  using Layout = SideLayout<kFormat>;
  static constexpr int kUnits = kDim / kUnitChannels;
  static constexpr int kScaleUnits = Layout::kGrouped ? Layout::kPacking.group / kUnitChannels : kUnits;
  char* keys;  // in shared memory: a side of each block
  char* values;
  int dim;
  bool first;  // they are a sequence's first

  __device__ char* Keys(int block) const { return keys + block * Layout::Bytes(dim); }
  __device__ char* Values(int block) const { return values + block * Layout::Bytes(dim); }

  __device__ __forceinline__ void Score(uint32_t queries, int block, Scores& scores) const {
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
    if constexpr (Layout::kGrouped) {
#pragma unroll 1
      for (int unit = 0; unit * kUnitChannels < dim; unit += kScaleUnits) {
        ScoreUnits<false>(queries, Keys(block), unit, scores);
      }
    } else if (Layout::kLongFirst && first && block == 0) {
      ScoreUnits<true>(queries, Keys(block), 0, scores);
    } else {
      ScoreUnits<false>(queries, Keys(block), 0, scores);
    }
  }

  __device__ __forceinline__ void Add(uint32_t weight_rows, int block, int first_unit,
                                      PartialSoftmax<kDim / 32>& softmax) const {
    uint32_t weights[kUnitGroups][4];
#pragma unroll
    for (int i = 0; i < kUnitGroups; ++i) {
      LoadLeft<ChunkMemory<kDim, 1>::kWeightRowBytes>(weight_rows, block * kScoreTiles + i * 2, weights[i]);
    }
    if (Layout::kLongFirst && first && block == 0) {
      AddUnits<true>(weights, Values(block), first_unit / 2, softmax);
    } else {
      AddUnits<false>(weights, Values(block), first_unit / 2, softmax);
    }
  }

  // By a warp: values behind a block's first `tokens`, whose scales may be anything, become zeros.
  __device__ __forceinline__ void Hide(int block, int tokens) const {
    char* const arrays = Values(block) + Layout::Scales(dim);
#pragma unroll 1
    for (int token = max(tokens, 0) + Lane(); token < kKvBlockTokens; token += kWarp) {
      auto* const scales = reinterpret_cast<__half*>(arrays) + ScaleIndex<KvSide::kValues>(token);
#pragma unroll 1
      for (int i = 0; i < Layout::ScaleArrays(dim); ++i) scales[i * kKvBlockTokens] = __half(0);
    }
  }

 private:
  // Adds to scores what kScaleUnits units from `begin` on make.
  template <bool kFirst>
  __device__ __forceinline__ void ScoreUnits(uint32_t queries, const char* side, int begin,
                                             Scores& scores) const {
    constexpr KvSide kSide = KvSide::kKeys;
    UnitScales scales;
    LoadScales<kFormat, kSide>(side, dim, begin, scales);
#pragma unroll kFirst ? 1 : kScaleUnits
    for (int unit = begin; unit < begin + kScaleUnits; ++unit) {
      uint32_t a[4];
      LoadLeft<kDim * 2>(queries, unit * 2, a);
      UnitCodes codes;
      LoadCodes<kFormat, kSide, kFirst>(side, dim, unit, codes);
#pragma unroll
      for (int n = 0; n < kScoreTiles; ++n) {
        MultiplyAdd(scores[n], a, ValueOf<kFormat, kSide>(codes, scales, n / 2, n % 2 * 2),
                    ValueOf<kFormat, kSide>(codes, scales, n / 2, n % 2 * 2 + 1));
      }
    }
  }

  // Adds a warp's units of values from `begin` on to its sums.
  template <bool kFirst>
  __device__ __forceinline__ void AddUnits(const uint32_t (&weights)[kUnitGroups][4], const char* side,
                                           int begin, PartialSoftmax<kDim / 32>& softmax) const {
    constexpr KvSide kSide = KvSide::kValues;
    UnitScales scales;
#pragma unroll
    for (int j = 0; j < kUnits / kGroupWarps; ++j) {
      if (j % kScaleUnits == 0) LoadScales<kFormat, kSide>(side, dim, begin + j, scales);
      UnitCodes codes;
      LoadCodes<kFormat, kSide, kFirst>(side, dim, begin + j, codes);
#pragma unroll
      for (int i = 0; i < kUnitGroups; ++i) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          MultiplyAdd(softmax.sums[2 * j + n], weights[i], ValueOf<kFormat, kSide>(codes, scales, i, 2 * n),
                      ValueOf<kFormat, kSide>(codes, scales, i, 2 * n + 1));
        }
      }
    }
  }
};

}  // namespace ternion::cuda
