#pragma once

#include "kernels/cuda/attention_chunk.cuh"
#include "kernels/cuda/packed_kv_quantize.cuh"

// One token of a sequence that is still as the projection left it: a tile turns its queries; the tile of the token's own
// chunk turns, rounds and packs its key and value into the fetched block and into the cache. Head dimensions are kDim.
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
        x, kDim, first, codes, [&](int array, __half value) { store(scale + array * Layout::kScaleBytes, value); },
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

// The queries, and where `fetched` is not null the key and value, whose block was fetched from `cache`. Waits for the
// kernel before and for the thread's copies; returns when all is there.
template <int kDim, KvFormat kFormat>
__device__ __forceinline__ void TurnToken(const AttentionArguments& arguments, const ChunkMemory<kDim, 1>& memory,
                                          const QueryTile& tile, char* fetched, char* cache) {
  constexpr int kWarps = kGroupWarps, kSideBytes = SideLayout<kFormat>::Bytes(kDim);
  const HeadShard& heads = arguments.heads;
  const int warp = WarpIndex(), slot = tile.position % kKvBlockTokens;
  const bool side = fetched != nullptr && warp < 2, value = warp == 1;
  const LaneAngles<kDim> angles(arguments.cos_sin + int64_t{tile.position} * kDim);
  const float* const row = arguments.qkv + tile.row * arguments.qkv_stride;
  LaneHead<kDim> x, mine = {};
  WaitForPrevious();
  if (side) LoadHead<kDim>(row + (heads.query_heads + tile.kv_head + value * heads.kv_heads) * kDim, mine);
#pragma unroll 2
  for (int r = warp; r < kWarpRows; r += kWarps) {
    if (r < tile.rows) {
      LoadHead<kDim>(row + tile.Head(r) * kDim, x);
      angles.Turn(x);
      if (arguments.query_bits > 0) RoundQuery(x);
    } else {
#pragma unroll
      for (int j = 0; j < kDim / kWarp; ++j) x[j] = 0;
    }
    StoreQueryRow<kDim>(memory.queries, r, x);
  }
  AwaitCopies<0>();
  __syncthreads();
  if (fetched == nullptr) return;

  const TokenPlace<kFormat, KvSide::kKeys> key = {fetched, cache, slot};
  const TokenPlace<kFormat, KvSide::kValues> its_value = {fetched + kSideBytes, cache + kSideBytes, slot};
  uint8_t* const codes = memory.bytes_of_weights();  // [2, kDim]
  if (side && !value) {
    angles.Turn(mine);
    key.template Quantize<kDim>(mine, tile.position == 0, codes);
  } else if (side) {
    its_value.template Quantize<kDim>(mine, tile.position == 0, codes + kDim);
  }
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x);
  if (warp == 0) {
    key.template Pack<kDim>(codes, thread, kWarp);
  } else {
    its_value.template Pack<kDim>(codes + kDim, thread - kWarp, (kWarps - 1) * kWarp);
  }
  __syncthreads();
}

}  // namespace ternion::cuda
