#pragma once

#include "kernels/cuda/attention_chunk.cuh"
#include "kernels/cuda/packed_kv_quantize.cuh"

// Tokens that are still as the projection left them, one of a sequence: a tile turns its queries; the tile of the token's
// own chunk turns, rounds and packs its key and value into the fetched block and into the cache. Heads have kDim channels.
namespace ternion::cuda {

// Lane l has channels l, l + 32, ... of a head.
template <int kDim>
using LaneHead = float[kDim / kWarp];

template <int kDim>
struct LaneAngles {
  static constexpr int kPairs = kDim / kWarp / 2;
  float cos[kPairs], sin[kPairs];

  __device__ __forceinline__ explicit LaneAngles(const float* cos_sin) {
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      cos[j] = cos_sin[j * kWarp + Lane()];
      sin[j] = cos_sin[kDim / 2 + j * kWarp + Lane()];
    }
  }
  // Products and sums round one by one, as in Rope.
  __device__ __forceinline__ void Turn(LaneHead<kDim>& x) const {
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      const float left = x[j], right = x[kPairs + j];
      x[j] = left * cos[j] - right * sin[j];
      x[kPairs + j] = right * cos[j] + left * sin[j];
    }
  }
};

template <int kDim>
__device__ __forceinline__ void LoadHead(const float* from, LaneHead<kDim>& x) {
#pragma unroll
  for (int j = 0; j < kDim / kWarp; ++j) x[j] = from[j * kWarp + Lane()];
}

// A token's place in one side of a block: what was fetched of it, and the cache.
template <KvFormat kFormat, KvSide kSide>
struct TokenPlace {
  using Layout = SideLayout<kFormat>;
  char* fetched;  // in shared memory
  char* cache;
  int slot;

  // By a warp; codes to `codes` [kDim].
  template <int kDim>
  __device__ __forceinline__ void Quantize(const LaneHead<kDim>& x, bool first, uint8_t* codes) const {
    const auto store = [&](int offset, auto value) {
      *reinterpret_cast<decltype(value)*>(fetched + offset) = value;
      *reinterpret_cast<decltype(value)*>(cache + offset) = value;
    };
    const int scale = Layout::Scales(kDim) + ScaleIndex<kSide>(slot) * 2;
    QuantizeToken<kFormat>(
        x, kDim, first, codes,
        [&](int array, __half value) { store(scale + array * Layout::kScaleBytes, value); },
        [&](int word, uint32_t bits) { store(Layout::FirstBits(kDim) + word * 4, bits); });
  }

  // The words that hold its codes, by threads thread, thread + threads, ...
  template <int kDim>
  __device__ __forceinline__ void Pack(const uint8_t* codes, int thread, int threads) const {
    constexpr int kLanes = kSide == KvSide::kKeys ? 4 : 8;  // that hold codes of one token
    for (int i = thread; i < kDim / kUnitChannels * kLanes; i += threads) {
      const int k = i % kLanes, unit = i / kLanes;
      const int lane = kSide == KvSide::kKeys ? slot % 8 * 4 + k : k * 4 + slot % 8 / 2;
      LaneWords<Layout::kBits> words;
      words.Load(fetched + unit * Layout::kUnitBytes, lane);
      ReplaceCodes<kFormat, kSide>(codes + unit * kUnitChannels, 0, slot, slot + 1, lane, words);
      words.Store(fetched + unit * Layout::kUnitBytes, lane);
      words.Store(cache + unit * Layout::kUnitBytes, lane);
    }
  }
};

// The turned queries of a tile of one token.
template <int kDim>
__device__ __forceinline__ void TurnQueries(const AttentionArguments& arguments, uint32_t queries,
                                            const QueryTile& tile) {
  const LaneAngles<kDim> angles(arguments.cos_sin + int64_t{tile.position} * kDim);
  const float* const row = arguments.qkv + tile.row * arguments.qkv_stride;
#pragma unroll 2
  for (int r = WarpIndex(); r < kWarpRows; r += kGroupWarps) {
    LaneHead<kDim> x = {};
    if (r < tile.rows) {
      LoadHead<kDim>(row + tile.Head(r) * kDim, x);
      angles.Turn(x);
      if (arguments.query_bits > 0) RoundQuery(x);
    }
    StoreQueryRow<kDim>(queries, r, x);
  }
}

// The tile's own token: warp 0 takes its key, warp 1 its value.
template <int kDim, KvFormat kFormat>
class FreshToken {
 public:
  __device__ FreshToken(const AttentionArguments& arguments, const QueryTile& tile)
      : position_(tile.position) {
    if (WarpIndex() >= 2) return;
    const HeadShard& heads = arguments.heads;
    const int head = heads.query_heads + tile.kv_head + WarpIndex() * heads.kv_heads;
    LoadHead<kDim>(arguments.qkv + tile.row * arguments.qkv_stride + int64_t{head} * kDim, x_);
    if (WarpIndex() == 0) LaneAngles<kDim>(arguments.cos_sin + int64_t{position_} * kDim).Turn(x_);
  }

  // Into its block, of which `keys` and `values` were fetched from `cache`. Begins when all threads see them, and returns
  // when they see what has become of them. `codes`: room for [2, kDim].
  __device__ __forceinline__ void Pack(char* keys, char* values, char* cache, uint8_t* codes) const {
    const int slot = position_ % kKvBlockTokens, warp = WarpIndex(), thread = static_cast<int>(threadIdx.x);
    const TokenPlace<kFormat, KvSide::kKeys> key = {keys, cache, slot};
    const TokenPlace<kFormat, KvSide::kValues> value = {values, cache + SideLayout<kFormat>::Bytes(kDim),
                                                        slot};
    if (warp == 0) key.template Quantize<kDim>(x_, position_ == 0, codes);
    if (warp == 1) value.template Quantize<kDim>(x_, position_ == 0, codes + kDim);
    __syncthreads();
    if (warp == 0) {
      key.template Pack<kDim>(codes, thread, kWarp);
    } else {
      value.template Pack<kDim>(codes + kDim, thread - kWarp, kGroupThreads - kWarp);
    }
    __syncthreads();
  }

 private:
  const int position_;
  LaneHead<kDim> x_ = {};
};

}  // namespace ternion::cuda
