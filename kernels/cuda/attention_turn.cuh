#pragma once

#include "kernels/cuda/attention_chunk.cuh"

// Queries, keys and values of a step that are still as the projection left them: a split tile turns its
// queries and the keys that it sees where it loads them and rounds them as the cache does; the tile that sees
// all of a piece's tokens writes them to the cache.
namespace ternion::cuda {

// The step's own tokens in a tile's chunk.
struct FreshTokens {
  int position;        // of the first
  int count;           // that the tile sees
  int block;           // the chunk's first
  bool write = false;  // to the cache
};

// What a thread turns: channels [channel, channel + 4) and those half a head further, of a query or key; of a
// value it only takes them.
struct Quad {
  const float* x = nullptr;  // null: nothing
  const float* angles;       // null: a value
  uint32_t row;              // in shared memory, of a query or value
  int fresh;                 // the fresh token, or -1: a query
  int channel;
  float4 left, right, cos, sin;
};

template <int kDim>
class Turner {
 public:
  using Memory = ChunkMemory<kDim, 1>;
  static constexpr int kQuads = kDim / 8;  // of a head

  __device__ Turner(const AttentionArguments& arguments, const Memory& memory, const SplitPiece& piece,
                    const QueryTile& tile, const FreshTokens& fresh)
      : arguments_(arguments),
        memory_(memory),
        piece_(piece),
        tile_(tile),
        fresh_(fresh),
        dim_(arguments.heads.head_dim) {}

  // Item `index` of all queries and keys and the first `values` fresh values; with its angles.
  __device__ __forceinline__ void Begin(int index, int values, Quad& quad) const {
    const int row = index / kQuads, key = row - tile_.rows, value = key - fresh_.count;
    quad.channel = index % kQuads * 4;
    quad.x = nullptr;
    quad.angles = nullptr;
    if (quad.channel * 2 >= dim_ || value >= values) return;
    quad.fresh = value >= 0 ? value : max(key, -1);
    const HeadShard& heads = arguments_.heads;
    int step_row = piece_.row, head = heads.query_heads + tile_.kv_head,
        position = fresh_.position + quad.fresh;
    if (key < 0) {
      step_row += tile_.Token(row);
      head = tile_.Head(row);
      position = tile_.Position(row);
      quad.row = memory_.queries + row * kDim * 2;
    } else {
      step_row += position - piece_.position;
      if (value >= 0) head += heads.kv_heads;
      quad.row = memory_.Values(BlockOf(position)) + position % kKvBlockTokens * kDim * 2;
    }
    quad.x = arguments_.qkv + step_row * arguments_.qkv_stride + head * dim_ + quad.channel;
    if (value >= 0) return;
    quad.angles = arguments_.cos_sin + int64_t{position} * dim_ + quad.channel;
    quad.cos = *reinterpret_cast<const float4*>(quad.angles);
    quad.sin = *reinterpret_cast<const float4*>(quad.angles + dim_ / 2);
  }
  __device__ __forceinline__ void Load(Quad& quad) const {
    if (quad.x == nullptr) return;
    quad.left = *reinterpret_cast<const float4*>(quad.x);
    quad.right = *reinterpret_cast<const float4*>(quad.x + dim_ / 2);
  }
  // Products and sums round one by one, as in Rope.
  __device__ __forceinline__ void Store(const Quad& quad) const {
    if (quad.x == nullptr) return;
    float4 a = quad.left, b = quad.right;
    if (quad.angles != nullptr) {
      const float4 x = a, y = b, c = quad.cos, s = quad.sin;
      a = {x.x * c.x - y.x * s.x, x.y * c.y - y.y * s.y, x.z * c.z - y.z * s.z, x.w * c.w - y.w * s.w};
      b = {y.x * c.x + x.x * s.x, y.y * c.y + x.y * s.y, y.z * c.z + x.z * s.z, y.w * c.w + x.w * s.w};
    }
    StoreFour(quad, quad.channel, a);
    StoreFour(quad, dim_ / 2 + quad.channel, b);
  }

 private:
  __device__ __forceinline__ int BlockOf(int position) const {
    return position / kKvBlockTokens - fresh_.block;
  }
  __device__ __forceinline__ void StoreFour(const Quad& quad, int channel, const float4& x) const {
    const uint2 halves = {PackHalves(x.x, x.y), PackHalves(x.z, x.w)};
    const int position = fresh_.position + quad.fresh, slot = position % kKvBlockTokens;
    const bool key = quad.fresh >= 0 && quad.angles != nullptr;
    if (!key) {  // a row's place in its matrix tells how its units are turned
      const uint32_t turn = quad.fresh < 0 ? (quad.row - memory_.queries) / (kDim * 2) : slot;
      StoreSharedPair(quad.row + UnitOffset<kDim * 2>(0, (channel / kUnitHalves) ^ (turn % 8)) +
                          channel % kUnitHalves * 2,
                      halves.x, halves.y);
    }
    if (quad.fresh < 0) return;
    const int block = BlockOf(position);
    __half* const to = KvBlock(arguments_, Pick(piece_.blocks, block), tile_.kv_head);
    if (!key) {
      if (fresh_.write) *reinterpret_cast<uint2*>(to + (kKvBlockTokens + slot) * dim_ + channel) = halves;
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t pair = i < 2 ? halves.x : halves.y;
      const __half half = __ushort_as_half(static_cast<uint16_t>(pair >> (i % 2 * 16)));
      StoreSharedHalf(memory_.Keys(block) + UnitOffset<kKeyRowBytes>(channel + i, slot / kUnitHalves) +
                          slot % kUnitHalves * 2,
                      half);
      if (fresh_.write) to[(channel + i) * kKvBlockTokens + slot] = half;
    }
  }

  const AttentionArguments& arguments_;
  const Memory& memory_;
  const SplitPiece& piece_;
  const QueryTile& tile_;
  const FreshTokens& fresh_;
  const int dim_;
};

}  // namespace ternion::cuda
