#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// Copies from global to shared memory that one thread starts and a barrier in shared memory counts (Hopper and later).
// A barrier's phases are told apart by their parity; a wait for parity p returns when a phase of parity p is over.
// Only for code under __CUDA_ARCH__ >= 900.
namespace ternion::cuda {

__device__ __forceinline__ uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// A phase is over after `arrivals` arrivals and when all announced bytes have come.
__device__ __forceinline__ void InitBarrier(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(SharedAddress(barrier)), "r"(arrivals) : "memory");
}
// After InitBarrier, before other threads (with __syncthreads) or copies use the barriers.
__device__ __forceinline__ void PublishBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void Arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
}

__device__ __forceinline__ void WaitBarrier(uint64_t* barrier, uint32_t parity) {
  const uint32_t address = SharedAddress(barrier);
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
  }
}

// Arrives and announces the bytes, then starts their copy. Addresses and size are multiples of 16.
__device__ __forceinline__ void StartCopy(void* shared, const void* global, uint32_t bytes,
                                          uint64_t* barrier) {
  const uint32_t barrier_address = SharedAddress(barrier);
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier_address), "r"(bytes)
               : "memory");
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          SharedAddress(shared)),
      "l"(global), "r"(bytes), "r"(barrier_address)
      : "memory");
}

}  // namespace ternion::cuda
