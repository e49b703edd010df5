#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/peer_memory.h"

// Words that travel between devices: 16 bytes at a time, complete when none of the four is kEmptyWord. No flag and no
// fence: a word is its own flag.
namespace ternion::cuda {

__device__ __forceinline__ void StorePeer(uint32_t* to, uint4 words) {
  asm volatile("st.volatile.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(words.x), "r"(words.y),
               "r"(words.z), "r"(words.w)
               : "memory");
}

__device__ __forceinline__ uint4 LoadInbox(const uint32_t* from) {
  uint4 words;
  asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "l"(from)
               : "memory");
  return words;
}

__device__ __forceinline__ bool Complete(uint4 words) {
  return words.x != kEmptyWord && words.y != kEmptyWord && words.z != kEmptyWord && words.w != kEmptyWord;
}

__device__ __forceinline__ uint64_t Nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

// Polls until `done()`. Gives up after kPeerPatienceSeconds, or when another wait of this device did.
__device__ __forceinline__ void WaitUntil(auto done, uint32_t* fault) {
  constexpr int kSpinsPerLook = 4096;
  if (done()) return;
  const uint64_t begin = Nanoseconds();
  for (int spins = 1; !done(); ++spins) {
    if (spins % kSpinsPerLook != 0) continue;
    const bool late = Nanoseconds() - begin > uint64_t{kPeerPatienceSeconds} * 1'000'000'000u;
    if (late) *static_cast<volatile uint32_t*>(fault) = 1;
    if (late || *static_cast<volatile uint32_t*>(fault) != 0) return;
  }
}

// The four words at `from`, when they have arrived; leaves the place empty for the exchange after the next. Gives up as
// WaitUntil does.
__device__ __forceinline__ uint4 TakeInbox(uint32_t* from, uint32_t* fault) {
  uint4 words;
  WaitUntil(
      [&] {
        words = LoadInbox(from);
        return Complete(words);
      },
      fault);
  StorePeer(from, make_uint4(kEmptyWord, kEmptyWord, kEmptyWord, kEmptyWord));
  return words;
}

}  // namespace ternion::cuda
