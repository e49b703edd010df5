#pragma once

#include "kernels/cuda/attention_packed_turn.cuh"
#include "kernels/cuda/attention_split.cuh"
#include "kernels/cuda/packed_kv_unpack.cuh"

// Splits (attention_split.cuh) over a packed cache: what lies there of the chunk's blocks is copied to shared memory as it
// is, and each warp unpacks the right operands that it multiplies in registers, where they stand in the order in which it
// needs them. Bound by reading the cache or, below 8 bits, about as much by unpacking: some 60 instructions for 1,024 codes
// by a warp's 32 lanes.
namespace ternion::cuda {

// HalfBlocks of a packed cache. Units beyond the head's are taken like the others: what lies there is finite where queries,
// which are zero in their channels, meet it, and makes channels of values that nobody stores.
template <int kDim, KvFormat kFormat>
struct PackedBlocks {
  using Layout = SideLayout<kFormat>;
  static constexpr int kUnits = kDim / kUnitChannels;
  static constexpr int kScaleUnits = Layout::kGrouped ? Layout::kPacking.group / kUnitChannels : kUnits;
  char* blocks;  // in shared memory: of each its keys, then its values
  int dim;
  bool first;  // they are a sequence's first

  // Bytes of shared memory for so many.
  static int Bytes(int blocks, int dim) {
    return blocks * 2 * Layout::Bytes(dim) + (Layout::Bytes(kDim) - Layout::Bytes(dim));
  }
  __device__ char* Head(int block) const { return blocks + block * 2 * Layout::Bytes(dim); }

  __device__ __forceinline__ void Score(uint32_t queries, int block, Scores& scores) const {
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
    if constexpr (Layout::kGrouped) {
#pragma unroll 1
      for (int unit = 0; unit * kUnitChannels < dim; unit += kScaleUnits) {
        ScoreUnits<false>(queries, Head(block), unit, scores);
      }
    } else if (Layout::kLongFirst && first && block == 0) {
      ScoreUnits<true>(queries, Head(block), 0, scores);
    } else {
      ScoreUnits<false>(queries, Head(block), 0, scores);
    }
  }

  __device__ __forceinline__ void Add(uint32_t weight_rows, int block, int first_unit,
                                      PartialSoftmax<kDim / 32>& softmax) const {
    uint32_t weights[kUnitGroups][4];
#pragma unroll
    for (int i = 0; i < kUnitGroups; ++i) {
      LoadLeft<ChunkMemory<kDim, 1>::kWeightRowBytes>(weight_rows, block * kScoreTiles + i * 2, weights[i]);
    }
    const char* const values = Head(block) + Layout::Bytes(dim);
    if (Layout::kLongFirst && first && block == 0) {
      AddUnits<true>(weights, values, first_unit / 2, softmax);
    } else {
      AddUnits<false>(weights, values, first_unit / 2, softmax);
    }
  }

  // By a warp: values behind a block's first `tokens`, whose scales may be anything, become zeros.
  __device__ __forceinline__ void Hide(int block, int tokens) const {
    char* const arrays = Head(block) + Layout::Bytes(dim) + Layout::Scales(dim);
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
  __device__ __forceinline__ void ScoreUnits(uint32_t queries, const char* keys, int begin, Scores& scores) const {
    constexpr KvSide kSide = KvSide::kKeys;
    UnitScales scales;
    LoadScales<kFormat, kSide>(keys, dim, begin, scales);
#pragma unroll kFirst ? 1 : kScaleUnits
    for (int unit = begin; unit < begin + kScaleUnits; ++unit) {
      uint32_t a[4];
      LoadLeft<kDim * 2>(queries, unit * 2, a);
      UnitCodes codes;
      LoadCodes<kFormat, kSide, kFirst>(keys, dim, unit, codes);
#pragma unroll
      for (int n = 0; n < kScoreTiles; ++n) {
        MultiplyAdd(scores[n], a, ValueOf<kFormat, kSide>(codes, scales, n / 2, n % 2 * 2),
                    ValueOf<kFormat, kSide>(codes, scales, n / 2, n % 2 * 2 + 1));
      }
    }
  }

  // Adds a warp's units of values from `begin` on to its sums.
  template <bool kFirst>
  __device__ __forceinline__ void AddUnits(const uint32_t (&weights)[kUnitGroups][4], const char* values, int begin,
                                           PartialSoftmax<kDim / 32>& softmax) const {
    constexpr KvSide kSide = KvSide::kValues;
    UnitScales scales;
#pragma unroll
    for (int j = 0; j < kUnits / kGroupWarps; ++j) {
      if (j % kScaleUnits == 0) LoadScales<kFormat, kSide>(values, dim, begin + j, scales);
      UnitCodes codes;
      LoadCodes<kFormat, kSide, kFirst>(values, dim, begin + j, codes);
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

// Starts to copy blocks [begin, end) of a tile's chunk.
template <int kDim, KvFormat kFormat>
__device__ __forceinline__ void FetchBlocks(const AttentionArguments& arguments, const SplitPiece& piece, int kv_head,
                                            const PackedBlocks<kDim, kFormat>& blocks, int begin, int end) {
  const int bytes = 2 * SideLayout<kFormat>::Bytes(arguments.heads.head_dim);
  const int offset = static_cast<int>(threadIdx.x) * kUnitBytes;
#pragma unroll 1
  for (int i = begin; i < end; ++i) {
    const char* const from = PackedBlock(arguments, Pick(piece.blocks, i), kv_head, bytes);
    const uint32_t to = SharedAddress(blocks.Head(i));
#pragma unroll 4
    for (int byte = offset; byte < bytes; byte += kGroupThreads * kUnitBytes) CopyUnit(to + byte, from + byte);
  }
}

// As many tiles on a multiprocessor as its shared memory holds; their registers must fit too.
template <int kDim, KvFormat kFormat>
inline constexpr int kPackedTiles{kDim > 128                         ? 2
                                  : SideLayout<kFormat>::kBits == 8 ? 2
                                  : SideLayout<kFormat>::kBits == 4 ? 4
                                                                    : 5};

template <int kDim, KvFormat kFormat>
__global__ void __launch_bounds__(kGroupThreads, kPackedTiles<kDim, kFormat>)
    PackedTiles(const __grid_constant__ AttentionArguments arguments) {
  StartNext();
  const SplitPiece piece = arguments.slices.splits[blockIdx.x];
  const QueryTile tile = TileOf(arguments, piece.row, piece.tokens, piece.position, static_cast<int>(blockIdx.y),
                                static_cast<int>(blockIdx.z), kSplitRows);
  if (tile.rows <= 0) return;
  const SplitChunk chunk(piece, tile);
  if (chunk.blocks <= 0) return;  // only later tokens of the piece see the chunk
  const int dim = arguments.heads.head_dim;
  const ChunkMemory<kDim, 1> memory(0, 0);
  const PackedBlocks<kDim, kFormat> blocks = {memory.matrices(), dim, chunk.first_block == 0};
  const bool turn = arguments.cos_sin != nullptr;
  const int settled =
      turn ? chunk.blocks : min(chunk.blocks, max(0, piece.settled / kKvBlockTokens - chunk.first_block));
  FetchBlocks(arguments, piece, tile.kv_head, blocks, 0, settled);
  CommitCopies();
  if (turn) {
    const int fresh = tile.position / kKvBlockTokens - chunk.first_block;
    const bool here = fresh < kChunkBlocks;
    TurnToken<kDim, kFormat>(arguments, memory, tile, here ? blocks.Head(fresh) : nullptr,
                             here ? PackedBlock(arguments, Pick(piece.blocks, fresh), tile.kv_head,
                                                2 * SideLayout<kFormat>::Bytes(dim))
                                  : nullptr);
  } else {
    WaitForPrevious();
    FetchBlocks(arguments, piece, tile.kv_head, blocks, settled, chunk.blocks);
    CommitCopies();
    LoadQueries<kDim, kSplitRows, kGroupThreads>(memory.queries, arguments, tile);
    AwaitCopies<0>();
    __syncthreads();
  }

  const WarpRows rows(tile, 0);
  const bool visible = WarpIndex() < chunk.blocks;
  Scores scores;
  if (visible) {
    const int block = chunk.first_block + WarpIndex();
    ScoreChunk(memory, blocks, rows, block, scores);
    blocks.Hide(WarpIndex(), tile.LastPosition() + 1 - block * kKvBlockTokens);
  }
  __syncthreads();  // the largest scores are there
  if (visible) StoreWeights(memory, rows, arguments.scale, scores);
  __syncthreads();
  PartialSoftmax<kDim / 32> softmax;
  AddChunk(memory, blocks, rows, arguments.scale, chunk.blocks, softmax);
  StoreChunk<kDim>(arguments, piece, tile, rows, softmax);
}

}  // namespace ternion::cuda
