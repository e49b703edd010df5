#pragma once

#include "kernels/cuda/attention_walk.cuh"
#include "kernels/cuda/packed_kv_unpack.cuh"

// Walks (attention_walk.cuh) over a packed cache. A chunk's keys, then its values, are copied to shared memory as the cache
// has them and unpacked there into the right operands of all warps' products, while the next ones are on their way.
namespace ternion::cuda {

// The matrices of ChunkMemory hold operands: of each unit and group i of 16 tokens the lanes' four registers.
template <int kDim>
using PackedWalkMemory = ChunkMemory<kDim, kWalkGroups<kDim>>;

__device__ __forceinline__ uint32_t OperandOffset(int unit, int i) {
  return ((unit * kUnitGroups + i) * kWarp + Lane()) * kUnitBytes;
}
__device__ __forceinline__ void StoreOperands(uint32_t shared, const uint32_t (&x)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(shared), "r"(x[0]), "r"(x[1]), "r"(x[2]),
               "r"(x[3])
               : "memory");
}
__device__ __forceinline__ void LoadOperands(uint32_t shared, uint32_t (&x)[4]) {
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(shared)
               : "memory");
}

// HalfBlocks of them.
template <int kDim>
struct OperandBlocks {
  const PackedWalkMemory<kDim>& memory;
  int dim;

  __device__ __forceinline__ void Score(uint32_t queries, int block, Scores& scores) const {
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
#pragma unroll
    for (int unit = 0; unit < kDim / kUnitChannels; ++unit) {
      if (unit * kUnitChannels >= dim) break;
      uint32_t a[4];
      LoadLeft<kDim * 2>(queries, unit * 2, a);
#pragma unroll
      for (int i = 0; i < kUnitGroups; ++i) {
        uint32_t b[4];
        LoadOperands(memory.Keys(block) + OperandOffset(unit, i), b);
        MultiplyAdd(scores[2 * i], a, b[0], b[1]);
        MultiplyAdd(scores[2 * i + 1], a, b[2], b[3]);
      }
    }
  }
  // Of channels beyond the head's there is nothing, and nobody stores their sums.
  __device__ __forceinline__ void Add(uint32_t weight_rows, int block, int first_unit,
                                      PartialSoftmax<kDim / 32>& softmax) const {
#pragma unroll
    for (int i = 0; i < kUnitGroups; ++i) {
      uint32_t weights[4];
      LoadLeft<PackedWalkMemory<kDim>::kWeightRowBytes>(weight_rows, block * kScoreTiles + i * 2, weights);
#pragma unroll
      for (int j = 0; j < kDim / 64; ++j) {
        uint32_t b[4];
        LoadOperands(memory.Values(block) + OperandOffset(first_unit / 2 + j, i), b);
        MultiplyAdd(softmax.sums[2 * j], weights, b[0], b[1]);
        MultiplyAdd(softmax.sums[2 * j + 1], weights, b[2], b[3]);
      }
    }
  }
};

// Scales of values behind the first `tokens`, which may be anything, become zeros.
__device__ __forceinline__ void HideScales(int tokens, __half2 (&scales)[8]) {
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const int token = 8 * k + Lane() % 4 * 2;
    const uint32_t low = token < tokens ? 0xffffu : 0, high = token + 1 < tokens ? 0xffff0000u : 0;
    scales[k] = AsHalves(BitsOf(scales[k]) & (low | high));
  }
}

// A warp unpacks a unit of a side, of which `tokens` tokens are seen, into operands.
template <KvFormat kFormat, KvSide kSide>
__device__ __forceinline__ void UnpackUnit(const char* side, int dim, int unit, bool first, int tokens,
                                           uint32_t operands) {
  UnitScales scales;
  LoadScales<kFormat, kSide>(side, dim, unit, scales);
  if (kSide == KvSide::kValues && tokens < kKvBlockTokens) {
    HideScales(tokens, scales.steps);
    if constexpr (SideLayout<kFormat>::kGrouped) HideScales(tokens, scales.minimums);
  }
  UnitCodes codes;
  if (SideLayout<kFormat>::kLongFirst && first) {
    LoadCodes<kFormat, kSide, true>(side, dim, unit, codes);
  } else {
    LoadCodes<kFormat, kSide, false>(side, dim, unit, codes);
  }
#pragma unroll
  for (int i = 0; i < kUnitGroups; ++i) {
    uint32_t x[kUnitRegisters];
#pragma unroll
    for (int r = 0; r < kUnitRegisters; ++r) x[r] = ValueOf<kFormat, kSide>(codes, scales, i, r);
    StoreOperands(operands + OperandOffset(unit, i), x);
  }
}

// Brings one side of a chunk's blocks to shared memory.
template <int kDim>
struct PackedWalkLoader {
  static constexpr int kThreads = PackedWalkMemory<kDim>::kThreads;
  using BlockIds = int[kChunkBlocks];
  const AttentionArguments& arguments;
  const PackedWalkMemory<kDim>& memory;
  const int32_t* table;  // the slice's
  int kv_head;
  int tokens;  // that the tile sees
  int blocks;
  int side_bytes;

  __device__ static char* Packed(int bytes) {
    return PackedWalkMemory<kDim>::matrices() + kChunkBlocks * kMatrixBytes<kDim> + bytes;
  }
  __device__ void Find(int chunk, BlockIds& ids) const {
#pragma unroll
    for (int i = 0; i < kChunkBlocks; ++i) {
      const int block = chunk * kChunkBlocks + i;
      ids[i] = block < blocks ? table[block] : 0;
    }
  }
  template <KvSide kSide>
  __device__ __forceinline__ void Fetch(int chunk, const BlockIds& ids) const {
    const int begin = static_cast<int>(threadIdx.x) * kUnitBytes;
#pragma unroll
    for (int i = 0; i < kChunkBlocks; ++i) {
      if (chunk * kChunkBlocks + i >= blocks) continue;
      const char* const from =
          PackedBlock(arguments, ids[i], kv_head, 2 * side_bytes) + (kSide == KvSide::kKeys ? 0 : side_bytes);
      const uint32_t to = SharedAddress(Packed(i * side_bytes));
      for (int byte = begin; byte < side_bytes; byte += kThreads * kUnitBytes)
        CopyUnit(to + byte, from + byte);
    }
  }
  template <KvFormat kFormat, KvSide kSide>
  __device__ __forceinline__ void UnpackAs(int chunk) const {
    const int dim = arguments.heads.head_dim, units = dim / kUnitChannels;
    const int count = min(kChunkBlocks, blocks - chunk * kChunkBlocks);
#pragma unroll 1
    for (int item = WarpIndex(); item < count * units; item += kThreads / kWarp) {
      const int i = item / units, block = chunk * kChunkBlocks + i;
      UnpackUnit<kFormat, kSide>(Packed(i * side_bytes), dim, item - i * units, block == 0,
                                 tokens - block * kKvBlockTokens, memory.Keys(i));
    }
  }
  template <KvSide kSide>
  __device__ __forceinline__ void Unpack(int chunk) const {
    switch (arguments.format) {
      case KvFormat::kInt8:
        return UnpackAs<KvFormat::kInt8, kSide>(chunk);
      case KvFormat::kInt4:
        return UnpackAs<KvFormat::kInt4, kSide>(chunk);
      case KvFormat::kInt3:
        return UnpackAs<KvFormat::kInt3, kSide>(chunk);
      case KvFormat::kInt4G32:
        return UnpackAs<KvFormat::kInt4G32, kSide>(chunk);
      default:
        return UnpackAs<KvFormat::kInt3G32, kSide>(chunk);
    }
  }
};

// Shared memory of a tile.
template <int kDim>
int PackedWalkBytes(KvFormat format, int dim) {
  return PackedWalkMemory<kDim>::Bytes(kChunkBlocks) +
         kChunkBlocks * static_cast<int>(KvHeadBytes(format, dim) / 2);
}

template <int kDim>
__global__ void __launch_bounds__(PackedWalkMemory<kDim>::kThreads, 1)
    PackedWalkTiles(const __grid_constant__ AttentionArguments arguments) {
  using Memory = PackedWalkMemory<kDim>;
  StartNext();
  const WalkPiece piece = arguments.slices.walks[blockIdx.z];
  const QueryTile tile = TileOf(arguments, piece.row, piece.tokens, piece.position,
                                static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x), Memory::kRows);
  if (tile.rows <= 0) return;
  const Memory memory(kChunkBlocks, kChunkBlocks);  // values take the place of keys
  const int tokens = tile.LastPosition() + 1, dim = arguments.heads.head_dim;
  const PackedWalkLoader<kDim> loader = {arguments,
                                         memory,
                                         arguments.slices.tables + piece.table,
                                         tile.kv_head,
                                         tokens,
                                         static_cast<int>(CeilDivide(tokens, kKvBlockTokens)),
                                         static_cast<int>(KvHeadBytes(arguments.format, dim) / 2)};
  int ids[kChunkBlocks];
  loader.Find(0, ids);
  WaitForPrevious();
  loader.template Fetch<KvSide::kKeys>(0, ids);
  CommitCopies();
  LoadQueries<kDim, Memory::kRows, Memory::kThreads>(memory.queries, arguments, tile);

  const OperandBlocks<kDim> operands = {memory, dim};
  const WarpRows rows(tile, GroupOfWarp() * kWarpRows);
  const int seen_blocks = rows.last_position < 0 ? 0 : rows.last_position / kKvBlockTokens + 1;
  PartialSoftmax<kDim / 32> all;
  for (int chunk = 0; chunk * kChunkBlocks < loader.blocks; ++chunk) {
    const int block = chunk * kChunkBlocks + WarpOfGroup();
    const bool visible = block < seen_blocks;
    AwaitCopies<0>();
    __syncthreads();  // packed keys are there, the values before done with
    loader.template Unpack<KvSide::kKeys>(chunk);
    __syncthreads();  // keys are there, packed ones done with
    loader.template Fetch<KvSide::kValues>(chunk, ids);
    CommitCopies();
    loader.Find(chunk + 1, ids);
    Scores scores;
    if (visible) ScoreChunk(memory, operands, rows, block, scores);
    AwaitCopies<0>();
    __syncthreads();  // packed values are there, keys done with
    loader.template Unpack<KvSide::kValues>(chunk);
    if (visible) StoreWeights(memory, rows, arguments.scale, scores);
    __syncthreads();  // weights and values are there, packed ones done with
    loader.template Fetch<KvSide::kKeys>(chunk + 1, ids);
    CommitCopies();
    PartialSoftmax<kDim / 32> softmax;
    AddChunk(memory, operands, rows, arguments.scale, min(kChunkBlocks, seen_blocks - chunk * kChunkBlocks),
             softmax);
    MergeChunk(arguments.scale, softmax, all);
  }
  StoreResult(arguments, tile, rows, all, WarpOfGroup() * (kDim / 4));
}

}  // namespace ternion::cuda
