#pragma once

#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/attention_tile.cuh"

// Decode's tiles, what they fetch of the cache, and the token's own queries, key and value, which are still
// as the projection left them: turned, rounded as the cache does, and written to it.
namespace ternion::cuda {

inline constexpr int kDecodeWarps = 8;
inline constexpr int kDecodeThreads = kDecodeWarps * kWarp;
inline constexpr int kHalfRows = kWarpRows / 2;

// What is known of a row after a block.
struct alignas(16) BlockStat {
  float most;    // of the chunk's scores up to this block
  float factor;  // what sums of the blocks before are multiplied with
  float total;   // of the block's weights
};

// Shared memory. A block's scores have a place for each half of the 16 rows that exists: first [tiles of 8
// positions] [lane] pairs, then weights as halves [8 rows, kKvBlockTokens]. Of the matrices the first
// `key_matrices` are the blocks' keys, the next ones their values; where there are too few, values take the
// place of keys that are done with.
template <int kDim>
struct DecodeMemory {
  static constexpr int kParts = 4;  // of a block's positions, each 16
  static constexpr int kHalfBytes = kHalfRows * kKvBlockTokens * static_cast<int>(sizeof(float));
  static constexpr int kMostBytes = kWarpRows * kParts * static_cast<int>(sizeof(float));
  static constexpr int kStatBytes = kWarpRows * static_cast<int>(sizeof(BlockStat));
  static constexpr int kBlockBytes = kMostBytes + kStatBytes;
  static constexpr int kMost = kWarpRows * kDim * 2;  // behind the queries
  static constexpr int Bytes(int halves, int key_matrices, int matrices) {
    return kMost + key_matrices * (kBlockBytes + halves * kHalfBytes) + matrices * kMatrixBytes<kDim>;
  }

  __device__ explicit DecodeMemory(const AttentionArguments& arguments)
      : halves(arguments.row_halves),
        own_values(arguments.matrices - arguments.key_matrices),
        key_matrices_(arguments.key_matrices),
        matrices_(queries() + kMost + key_matrices_ * (kBlockBytes + halves * kHalfBytes)) {}

  __device__ static uint32_t queries() { return SharedAddress(attention_memory); }
  __device__ uint32_t Keys(int block) const { return matrices_ + block * kMatrixBytes<kDim>; }
  __device__ uint32_t Values(int block) const {
    return Keys(block < own_values ? key_matrices_ + block : block - own_values);
  }
  // The largest score of each of the block's parts: [rows, kParts].
  __device__ float* Most(int block) const { return reinterpret_cast<float*>(At(kMost + block * kMostBytes)); }
  __device__ BlockStat* Stats(int block) const {  // [rows]
    return reinterpret_cast<BlockStat*>(At(kMost + key_matrices_ * kMostBytes + block * kStatBytes));
  }
  __device__ char* Scores(int block, int half) const {
    return At(kMost + key_matrices_ * kBlockBytes + (block * halves + half) * kHalfBytes);
  }

  const int halves;      // of 8 rows
  const int own_values;  // blocks whose values have a place of their own

 private:
  __device__ static char* At(int byte) { return reinterpret_cast<char*>(attention_memory) + byte; }

  const int key_matrices_;
  const uint32_t matrices_;
};

// Up to 16 query heads of one KV head, and a chunk of their token's context.
struct DecodeTile {
  SplitPiece piece;
  int kv_head;
  int first_head;
  int rows;  // 0: there is no tile
  bool last_heads;
  int first_block;
  int blocks;  // of the chunk, up to the token's own
  bool fresh;  // the token itself is in the chunk

  // A block is a piece, a KV head, and a number of its tiles of query heads.
  __device__ explicit DecodeTile(const AttentionArguments& arguments)
      : piece(arguments.slices.splits[blockIdx.x]), kv_head(static_cast<int>(blockIdx.y)) {
    const HeadShard& heads = arguments.heads;
    const int begin = (heads.kv_begin + kv_head) * heads.queries_per_kv - heads.query_begin;
    const int end = min(heads.query_heads, begin + heads.queries_per_kv);
    first_head = max(0, begin) + static_cast<int>(blockIdx.z) * kWarpRows;
    rows = piece.tokens == 0 ? 0 : max(0, min(kWarpRows, end - first_head));
    last_heads = first_head + rows == end;
    first_block = piece.chunk * kChunkBlocks;
    const int seen = piece.position / kKvBlockTokens + 1 - first_block;
    blocks = min(kChunkBlocks, seen);
    fresh = seen <= kChunkBlocks;
  }
  // Of a block's positions, how many earlier steps wrote.
  __device__ int Settled(int block) const { return piece.position - (first_block + block) * kKvBlockTokens; }
  __device__ int FreshBlock() const { return piece.position / kKvBlockTokens - first_block; }
  __device__ int Slot() const { return piece.position % kKvBlockTokens; }
  __device__ __half* Cache(const AttentionArguments& arguments, int block) const {
    return KvBlock(arguments, Pick(piece.blocks, block), kv_head);
  }
};

template <int kDim>
__device__ __forceinline__ void FetchKeys(const AttentionArguments& arguments,
                                          const DecodeMemory<kDim>& memory, const DecodeTile& tile) {
#pragma unroll 1
  for (int i = 0; i < tile.blocks; ++i) {
    LoadKeys<kDim, kDecodeThreads>(memory.Keys(i), tile.Cache(arguments, i), arguments.heads.head_dim,
                                   tile.Settled(i));
  }
}

// Of blocks [begin, end). Zeros behind the fresh value, whose own place is left alone.
template <int kDim>
__device__ __forceinline__ void FetchValues(const AttentionArguments& arguments,
                                            const DecodeMemory<kDim>& memory, const DecodeTile& tile,
                                            int begin, int end) {
  constexpr int kUnits = kDim / kUnitHalves, kStep = kDecodeThreads / kUnits;
  const int unit = static_cast<int>(threadIdx.x) % kUnits, first = static_cast<int>(threadIdx.x) / kUnits;
  const int dim = arguments.heads.head_dim;
  if (unit * kUnitHalves >= dim) return;
#pragma unroll 1
  for (int i = begin; i < end; ++i) {
    const int settled = tile.Settled(i);
    const __half* from = tile.Cache(arguments, i) + (kKvBlockTokens + first) * dim + unit * kUnitHalves;
#pragma unroll
    for (int step = 0; step < kKvBlockTokens / kStep; ++step) {
      const int token = first + step * kStep;
      const uint32_t to = memory.Values(i) + UnitOffset<kDim * 2>(token, unit);
      if (token != settled) CopyUnitOrZero(to, from, token < settled);
      from += kStep * dim;
    }
  }
}

// What a thread turns or takes: channels [channel, channel + 4) of a query and those half a head further,
// one channel of the key and the one half a head further, or two channels of the value.
struct Share {
  enum Kind { kNothing, kQuery, kKey, kValue };
  Kind kind = kNothing;
  int row;  // of the tile, of a query
  int channel;
  const float* x;
  float4 cos, sin;  // of a key only the first
};

// A tile's number of shares: its queries', in whole warps, then the key's and the value's.
template <int kDim>
__device__ __forceinline__ int QueryShares(const DecodeTile& tile) {
  return (tile.rows * (kDim / 8) + kWarp - 1) / kWarp * kWarp;
}
template <int kDim>
__device__ __forceinline__ int Shares(const DecodeTile& tile) {
  return QueryShares<kDim>(tile) + (tile.fresh ? kDim : 0);
}

// With its angles.
template <int kDim>
__device__ __forceinline__ Share ShareOf(const AttentionArguments& arguments, const DecodeTile& tile,
                                         int index) {
  const HeadShard& heads = arguments.heads;
  const int dim = heads.head_dim, other = index - QueryShares<kDim>(tile);
  Share share;
  int head;
  if (other < 0) {
    share.row = index / (kDim / 8);
    share.channel = index % (kDim / 8) * 4;
    if (share.row >= tile.rows || share.channel * 2 >= dim) return share;
    share.kind = Share::kQuery;
    head = tile.first_head + share.row;
  } else {
    const bool key = other < kDim / 2;
    share.channel = key ? other : (other - kDim / 2) * 2;
    if (!tile.fresh || share.channel >= (key ? dim / 2 : dim)) return share;
    share.kind = key ? Share::kKey : Share::kValue;
    head = heads.query_heads + (key ? 0 : heads.kv_heads) + tile.kv_head;
  }
  share.x = arguments.qkv + tile.piece.row * arguments.qkv_stride + head * dim + share.channel;
  const float* const angles = arguments.cos_sin + int64_t{tile.piece.position} * dim + share.channel;
  if (share.kind == Share::kQuery) {
    share.cos = *reinterpret_cast<const float4*>(angles);
    share.sin = *reinterpret_cast<const float4*>(angles + dim / 2);
  } else if (share.kind == Share::kKey) {
    share.cos.x = angles[0];
    share.sin.x = angles[dim / 2];
  }
  return share;
}

// What lies at x: of a key or value the first one or two numbers.
struct ShareValues {
  float4 left = {}, right = {};
};
__device__ __forceinline__ ShareValues LoadShare(const Share& share, const float* x, int half) {
  ShareValues values;
  if (share.kind == Share::kQuery) {
    values.left = *reinterpret_cast<const float4*>(x);
    values.right = *reinterpret_cast<const float4*>(x + half);
  } else if (share.kind == Share::kKey) {
    values.left.x = x[0];
    values.right.x = x[half];
  } else if (share.kind == Share::kValue) {
    const float2 value = *reinterpret_cast<const float2*>(x);
    values.left.x = value.x;
    values.right.x = value.y;
  }
  return values;
}

// Here and below products and sums round one by one, as in Rope.
template <int kDim>
__device__ __forceinline__ void StoreQuery(const DecodeMemory<kDim>& memory, const Share& share,
                                           const ShareValues& values, int half) {
  const float4 c = share.cos, s = share.sin, l = values.left, r = values.right;
  const auto store = [&](int channel, const float4& x) {
    const uint32_t to = memory.queries() + UnitOffset<kDim * 2>(share.row, channel / kUnitHalves);
    StoreSharedPair(to + channel % kUnitHalves * 2, PackHalves(x.x, x.y), PackHalves(x.z, x.w));
  };
  store(share.channel,
        {l.x * c.x - r.x * s.x, l.y * c.y - r.y * s.y, l.z * c.z - r.z * s.z, l.w * c.w - r.w * s.w});
  store(half + share.channel,
        {r.x * c.x + l.x * s.x, r.y * c.y + l.y * s.y, r.z * c.z + l.z * s.z, r.w * c.w + l.w * s.w});
}

// `cache`: the fresh token's block of it; null: it is not written.
template <int kDim>
__device__ __forceinline__ void StoreKey(const DecodeMemory<kDim>& memory, const DecodeTile& tile,
                                         const Share& share, const ShareValues& values, int half,
                                         __half* cache) {
  const __half low = __float2half_rn(values.left.x * share.cos.x - values.right.x * share.sin.x);
  const __half high = __float2half_rn(values.right.x * share.cos.x + values.left.x * share.sin.x);
  const int slot = tile.Slot();
  const uint32_t keys = memory.Keys(tile.FreshBlock()) + slot % kUnitHalves * 2;
  StoreSharedHalf(keys + UnitOffset<kKeyRowBytes>(share.channel, slot / kUnitHalves), low);
  StoreSharedHalf(keys + UnitOffset<kKeyRowBytes>(half + share.channel, slot / kUnitHalves), high);
  if (cache == nullptr) return;
  cache[share.channel * kKvBlockTokens + slot] = low;
  cache[(half + share.channel) * kKvBlockTokens + slot] = high;
}

// A value that takes the place of keys once they are done with.
struct LateValue {
  uint32_t to = 0;  // in shared memory; 0: none
  uint32_t halves;
};

template <int kDim>
__device__ __forceinline__ void StoreValue(const DecodeMemory<kDim>& memory, const DecodeTile& tile,
                                           const Share& share, const ShareValues& values, int half,
                                           __half* cache, LateValue& late) {
  const int slot = tile.Slot(), block = tile.FreshBlock();
  const uint32_t halves = PackHalves(values.left.x, values.right.x);
  const uint32_t to = memory.Values(block) + UnitOffset<kDim * 2>(slot, share.channel / kUnitHalves) +
                      share.channel % kUnitHalves * 2;
  if (block < memory.own_values) {
    StoreShared(to, halves);
  } else {
    late = {to, halves};
  }
  if (cache == nullptr) return;
  *reinterpret_cast<uint32_t*>(cache + (kKvBlockTokens + slot) * 2 * half + share.channel) = halves;
}

// Queries and the fresh key and value into shared memory, the latter two into the cache; the fetched keys
// have come, too. Waits for the kernel before, but for a rehearsal, which takes angles in place of what is
// not there yet and does not write.
template <int kDim>
__device__ __forceinline__ void TurnTile(const AttentionArguments& arguments,
                                         const DecodeMemory<kDim>& memory, const DecodeTile& tile,
                                         bool rehearsal, LateValue& late) {
  const int half = arguments.heads.head_dim / 2, shares = Shares<kDim>(tile);
#pragma unroll 1
  for (int begin = 0; begin < shares; begin += kDecodeThreads) {
    const Share share = ShareOf<kDim>(arguments, tile, begin + static_cast<int>(threadIdx.x));
    __half* const cache = tile.fresh ? tile.Cache(arguments, tile.FreshBlock()) : nullptr;
    __half* const to = tile.last_heads && !rehearsal ? cache : nullptr;
    if (begin == 0 && !rehearsal) WaitForPrevious();
    const ShareValues values = LoadShare(share, rehearsal ? arguments.cos_sin : share.x, half);
    if (begin == 0) {
      AwaitCopies<1>();
      __syncthreads();  // what is fresh goes over the keys that were copied
    }
    if (share.kind == Share::kQuery) {
      StoreQuery(memory, share, values, half);
    } else if (share.kind == Share::kKey) {
      StoreKey(memory, tile, share, values, half, to);
    } else if (share.kind == Share::kValue) {
      StoreValue(memory, tile, share, values, half, to, late);
    }
  }
  __syncthreads();
}

}  // namespace ternion::cuda
