// Every member's codes to all: a warp stores a unit of 1,024 of its device's codes, two in a byte when they are INT4, into
// every peer's inbox, and copies from its own the unit that came in before. Bound by the link.
#include "kernels/cuda/peer_codes.h"

#include "kernels/check.h"
#include "kernels/cuda/peer_blocks.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 6;  // of a multiprocessor: all run at once
constexpr int kFours = 2;   // of 16 codes, of a lane
constexpr int64_t kUnitChannels = int64_t{kWarp} * kFours * 16;

struct GatherWork {
  BlockInbox inbox;
  const int8_t* codes = nullptr;  // of this member's rows of the slice
  const float* scales = nullptr;
  int8_t* all_codes = nullptr;  // [T, n]
  float* all_scales = nullptr;  // [T]
  int n = 0;
  int stride = 0;  // words of a section for a unit
  SlicedRows slice;
};

// A lane's codes of a unit on their way.
template <bool kInt4>
struct PackedCodes {
  static constexpr int kCount = kInt4 ? 1 : kFours;
  static constexpr int kWords = kCount * kWarp * 4 + 4;  // of a unit: codes, disguise

  uint4 words[kCount];

  // Four codes, a byte each, to the low 16 bits and back.
  static __device__ __forceinline__ uint32_t Packed(uint32_t codes) {
    const uint32_t low = codes & 0x0f0f0f0fu;
    return __byte_perm(low | low >> 4, 0, 0x4420);
  }
  static __device__ __forceinline__ uint32_t Unpacked(uint32_t packed) {
    const uint32_t bytes = __byte_perm(packed, 0, 0x4140);
    const uint32_t codes = (bytes | bytes << 4) & 0x0f0f0f0fu;
    return codes + (codes & 0x08080808u) * 0x1e;  // the sign bit goes up
  }

  __device__ __forceinline__ void Pack(const uint4 (&codes)[kFours]) {
    if constexpr (kInt4) {
      words[0] = {
          Packed(codes[0].x) | Packed(codes[0].y) << 16, Packed(codes[0].z) | Packed(codes[0].w) << 16,
          Packed(codes[1].x) | Packed(codes[1].y) << 16, Packed(codes[1].z) | Packed(codes[1].w) << 16};
    } else {
      words[0] = codes[0], words[1] = codes[1];
    }
  }
  __device__ __forceinline__ void Unpack(uint4 (&codes)[kFours]) const {
    if constexpr (kInt4) {
      const uint4& all = words[0];
      codes[0] = {Unpacked(all.x), Unpacked(all.x >> 16), Unpacked(all.y), Unpacked(all.y >> 16)};
      codes[1] = {Unpacked(all.z), Unpacked(all.z >> 16), Unpacked(all.w), Unpacked(all.w >> 16)};
    } else {
      codes[0] = words[0], codes[1] = words[1];
    }
  }
};

// Where a lane's 16 codes lie in a unit.
__device__ __forceinline__ int64_t At(int i) { return (int64_t{i} * kWarp + Lane()) * 16; }

// To every peer, and to this device's own rows of all.
template <bool kInt4>
__device__ __forceinline__ void SendUnit(const GatherWork& work, int64_t unit) {
  const PeerInboxes& peers = work.inbox.peers;
  const int me = peers.rank;
  const int64_t begin = unit * kUnitChannels, end = work.slice.rows[me] * work.n;
  if (begin >= end) return;
  const RowsOfUnit rows(begin, min(begin + kUnitChannels, end), work.n);
  uint4 codes[kFours];
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    codes[i] = begin + At(i) < end ? *reinterpret_cast<const uint4*>(work.codes + begin + At(i)) : uint4{};
  }
  const float scale = Lane() < rows.count ? work.scales[rows.first + Lane()] : 0.0f;
  PackedCodes<kInt4> packed;
  packed.Pack(codes);
  const uint32_t disguise = Disguise(packed.words);
  for (int distance = 1; distance < peers.ranks; ++distance) {
    const int to = (me + distance) % peers.ranks;
    uint32_t* const there = Section(work.inbox, me, to) + unit * work.stride;
#pragma unroll
    for (int i = 0; i < packed.kCount; ++i) {
      StorePeer(there + 4 * (i * kWarp + Lane()), Disguised(packed.words[i], disguise));
    }
    if (Lane() == 0) StoreWord(there + packed.kWords - 4, DisguiseWord(disguise));
    if (Lane() < rows.count) StoreWord(there + packed.kWords + Lane(), __float_as_uint(scale));
  }
  int8_t* const own = work.all_codes + work.slice.first[me] * work.n;
  if (own != work.codes) {
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      if (begin + At(i) < end) *reinterpret_cast<uint4*>(own + begin + At(i)) = codes[i];
    }
  }
  if (Lane() < rows.count) work.all_scales[work.slice.first[me] + rows.first + Lane()] = scale;
}

template <bool kInt4>
__device__ __forceinline__ void TakeUnit(const GatherWork& work, int from, int64_t unit) {
  const PeerInboxes& peers = work.inbox.peers;
  const int64_t begin = unit * kUnitChannels, end = work.slice.rows[from] * work.n;
  if (begin >= end) return;
  const RowsOfUnit rows(begin, min(begin + kUnitChannels, end), work.n);
  uint32_t* const here = Section(work.inbox, from, peers.rank) + unit * work.stride;
  PackedCodes<kInt4> packed;
  uint32_t* const disguise = here + packed.kWords - 4;
  uint32_t* const scale = here + packed.kWords + Lane();
  const bool has_scale = Lane() < rows.count;
  uint32_t disguise_word, scale_word = 0;
  WaitUntil(
      [&] {
        bool all = (disguise_word = LoadWord(disguise)) != kEmptyWord;
        if (has_scale) all = (scale_word = LoadWord(scale)) != kEmptyWord && all;
#pragma unroll
        for (int i = 0; i < packed.kCount; ++i) {
          packed.words[i] = LoadInbox(here + 4 * (i * kWarp + Lane()));
          all = all && HalvesHere(packed.words[i]);
        }
        return all;
      },
      peers.fault);
  __syncwarp();
#pragma unroll
  for (int i = 0; i < packed.kCount; ++i) {
    StorePeer(here + 4 * (i * kWarp + Lane()), kEmptyWords);
    packed.words[i] = Disguised(packed.words[i], DisguiseOf(disguise_word));
  }
  if (Lane() == 0) StoreWord(disguise, kEmptyWord);
  uint4 codes[kFours];
  packed.Unpack(codes);
  int8_t* const there = work.all_codes + work.slice.first[from] * work.n;
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    if (begin + At(i) < end) *reinterpret_cast<uint4*>(there + begin + At(i)) = codes[i];
  }
  if (!has_scale) return;
  StoreWord(scale, kEmptyWord);
  work.all_scales[work.slice.first[from] + rows.first + Lane()] = __uint_as_float(scale_word);
}

template <bool kInt4>
__global__ void __launch_bounds__(kThreads, kBlocks)
    GatherCodesKernel(const __grid_constant__ GatherWork work, int64_t units) {
  StartNext();
  WaitForPrevious();
  SendThenTake<kThreads>(
      work.inbox.peers, units, [&](int64_t unit) { SendUnit<kInt4>(work, unit); },
      [&](int from, int64_t unit) { TakeUnit<kInt4>(work, from, unit); });
}

}  // namespace

void PeerGatherCodes(const CudaBackend& backend, absl::FunctionRef<BlockInbox()> turn, bool int4,
                     absl::Span<const Range> owned, BasicQuantizedRows<const int8_t, const float> mine,
                     QuantizedRows all) {
  const int64_t n = all.codes.cols();
  const UnitPlan plan{kUnitChannels, int4 ? PackedCodes<true>::kWords : PackedCodes<false>::kWords, n};
  int64_t slice_rows = 0;
  for (int64_t begin = 0; begin < MostRowsOwned(owned); begin += slice_rows) {
    GatherWork work;
    work.inbox = turn();
    slice_rows = plan.SliceRows(work.inbox);
    CHECK(slice_rows > 0, "a section holds a row");
    work.codes = mine.codes.data() + begin * n;
    work.scales = mine.scales.data() + begin;
    work.all_codes = all.codes.data();
    work.all_scales = all.scales.data();
    work.n = static_cast<int>(n);
    work.stride = static_cast<int>(plan.Stride());
    work.slice = SlicedRows::Of(owned, begin, slice_rows);
    const int64_t units = CeilDivide(work.slice.most * n, kUnitChannels);
    const auto grid =
        static_cast<unsigned>(std::min<int64_t>(units, int64_t{kBlocks} * backend.multiprocessors()));
    Launch(backend.launch_stream(), int4 ? GatherCodesKernel<true> : GatherCodesKernel<false>,
           {dim3(grid), dim3(kThreads)}, work, units);
  }
}

}  // namespace ternion::cuda
