#pragma once

#include <cstdint>

#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/device.cuh"

// Words that the blocks of a cluster store straight into each other's shared memory; a barrier there counts their bytes. The
// cluster's own barrier would not do: it orders all stores before it, those to other devices too. Every barrier is used
// once, so that no block has to learn when another has done with a place.
//
//   every block: InitBarrier, PublishBarriers and ExpectBytes in one thread, ArriveAtCluster in all; WaitForCluster before the
//   first StoreInBlock; WaitForStores for every barrier that words go to, or the block would end before they come.
namespace ternion::cuda {

inline constexpr int kClusterBlocks = 8;  // of one row; as many as every device with clusters takes

__device__ __forceinline__ uint32_t BlockOfCluster() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// The same place in another block of the cluster.
__device__ __forceinline__ uint32_t InBlock(const void* p, uint32_t block) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(SharedAddress(p)), "r"(block));
  return address;
}

// One thread. The barrier opens when `bytes` have been stored; some may already have been.
__device__ __forceinline__ void ExpectBytes(const uint64_t& barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(&barrier)),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void StoreInBlock(const void* to, uint32_t word, const uint64_t& barrier,
                                             uint32_t block) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(
                   InBlock(to, block)),
               "r"(word), "r"(InBlock(&barrier, block))
               : "memory");
}
__device__ __forceinline__ void StoreInBlock(const void* to, const uint4& words, const uint64_t& barrier,
                                             uint32_t block) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
          InBlock(to, block)),
      "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w), "r"(InBlock(&barrier, block))
      : "memory");
}
// Without a clock: the words come from the cluster's own blocks, whose waits for peers end.
__device__ __forceinline__ void WaitForStores(const uint64_t& barrier) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n .reg .pred p;\n mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;\n"
        " selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(SharedAddress(&barrier))
        : "memory");
  }
}

// Every thread. Nothing is read of what the other blocks did before, but that they expect stores.
__device__ __forceinline__ void ArriveAtCluster() {
  __syncwarp();
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void WaitForCluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

}  // namespace ternion::cuda
