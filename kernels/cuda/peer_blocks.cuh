#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/peer_blocks.h"
#include "kernels/cuda/peer_words.cuh"

// Units of codes that travel between devices, a warp each. A flag behind the codes would have to wait for their stores to
// arrive, several microseconds; so the codes are their own flag, eight bytes at a time: those that would be empty words
// are sent in disguise.
namespace ternion::cuda {

// What `from` writes and `to` reads.
__device__ __forceinline__ uint32_t* Section(const BlockInbox& inbox, int from, int to) {
  return inbox.peers.of[to] + inbox.begin + (from < to ? from : from - 1) * inbox.section_words;
}

__device__ __forceinline__ void StoreWord(uint32_t* to, uint32_t word) {
  *static_cast<volatile uint32_t*>(to) = word;
}
__device__ __forceinline__ uint32_t LoadWord(const uint32_t* from) {
  return *static_cast<const volatile uint32_t*>(from);
}
inline constexpr uint4 kEmptyWords = {kEmptyWord, kEmptyWord, kEmptyWord, kEmptyWord};

// The bits by which a warp's codes differ on their way: none, as a rule, else such as leave no eight bytes empty. There are
// at most 32 * kCount * 2 of those, each of which rules out one of 256 disguises.
template <int kCount>
__device__ __forceinline__ uint32_t Disguise(const uint4 (&codes)[kCount]) {
  static_assert(kWarp * kCount * 2 < 256);
  for (uint32_t i = 0;; ++i) {
    const uint32_t bits = i * 0x01010101u, empty = kEmptyWord ^ bits;
    bool any = false;
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      any |= (codes[j].x == empty && codes[j].y == empty) || (codes[j].z == empty && codes[j].w == empty);
    }
    if (!__any_sync(kAllLanes, any)) return bits;
  }
}
__device__ __forceinline__ uint4 Disguised(uint4 codes, uint32_t bits) {
  return {codes.x ^ bits, codes.y ^ bits, codes.z ^ bits, codes.w ^ bits};
}

// A disguise on its way is never an empty word.
__device__ __forceinline__ uint32_t DisguiseWord(uint32_t bits) { return bits & 0xffu; }
__device__ __forceinline__ uint32_t DisguiseOf(uint32_t word) { return word * 0x01010101u; }

// 16 bytes of codes of which either half may be on its way.
__device__ __forceinline__ bool HalvesHere(uint4 codes) {
  return (codes.x != kEmptyWord || codes.y != kEmptyWord) && (codes.z != kEmptyWord || codes.w != kEmptyWord);
}

// What a grid of blocks of kThreads does with `units` units, a warp each: send one, take from every peer the one before, so
// that it is on its way while the next is made.
template <int kThreads>
__device__ __forceinline__ void SendThenTake(const PeerInboxes& peers, int64_t units, auto send, auto take) {
  const int64_t warps = int64_t{gridDim.x} * (kThreads / kWarp);
  for (int64_t unit = int64_t{WarpIndex()} * gridDim.x + blockIdx.x; unit < units + warps; unit += warps) {
    if (unit < units) send(unit);
    for (int from = 0; unit >= warps && from < peers.ranks; ++from) {
      if (from != peers.rank) take(from, unit - warps);
    }
  }
}

// The rows that a unit touches, and which of them a channel of it belongs to.
struct RowsOfUnit {
  int first;      // of the section
  int count;      // that it touches
  int offset;     // of the unit's first channel in the first row
  float inverse;  // 1 / n

  __device__ __forceinline__ RowsOfUnit(int64_t begin, int64_t end, int n)
      : first(static_cast<int>(begin / n)),
        count(static_cast<int>((end - 1) / n) - first + 1),
        offset(static_cast<int>(begin - int64_t{first} * n)),
        inverse(1.0f / static_cast<float>(n)) {}

  // Exact: a channel lies half a channel at least from where its row ends.
  __device__ __forceinline__ int Of(int channel) const {
    return static_cast<int>((static_cast<float>(offset + channel) + 0.5f) * inverse);
  }
};

}  // namespace ternion::cuda
