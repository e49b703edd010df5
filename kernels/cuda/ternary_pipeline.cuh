#pragma once

#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/device.cuh"

// Stages of shared memory that some warps fill and others read. A stage has a barrier, whose phase is over when everything
// that AnnounceStage announced has come. From Hopper on one lane starts bulk copies; before, every lane copies 16 bytes
// at a time. All of a warp's lanes make these calls together, but for InitStage, PublishStages and ArriveAt.
namespace ternion::cuda {

__device__ __forceinline__ uint8_t* DynamicShared() {
  extern __shared__ __align__(128) uint8_t dynamic_shared[];
  return dynamic_shared;
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900

__device__ __forceinline__ void InitStage(uint64_t* barrier, int warps) {
  InitBarrier(barrier, warps * kWarp);
}
__device__ __forceinline__ void PublishStages() { __threadfence_block(); }

__device__ __forceinline__ void AnnounceStage(uint64_t*, uint32_t) {}
__device__ __forceinline__ void CopyToStage(uint8_t* to, const void* from, uint32_t bytes, uint64_t*) {
  for (uint32_t i = static_cast<uint32_t>(Lane()) * 16; i < bytes; i += kWarp * 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(to + i)),
                 "l"(static_cast<const uint8_t*>(from) + i)
                 : "memory");
  }
}
__device__ __forceinline__ void EndStage(uint64_t* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(SharedAddress(barrier)) : "memory");
}

__device__ __forceinline__ void WaitStage(uint64_t* barrier, uint32_t parity) {
  const uint32_t address = SharedAddress(barrier);
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
  }
}
__device__ __forceinline__ void ArriveAt(uint64_t* barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [%0];\n}" ::"r"(SharedAddress(barrier))
               : "memory");
}

#else

// `warps` share the fills of a stage; each announces its own bytes.
__device__ __forceinline__ void InitStage(uint64_t* barrier, int warps) { InitBarrier(barrier, warps); }
// By the lane that made the barriers, before __syncwarp or __syncthreads.
__device__ __forceinline__ void PublishStages() { PublishBarriers(); }

// Begins the warp's fill of `bytes` in all.
__device__ __forceinline__ void AnnounceStage(uint64_t* barrier, uint32_t bytes) {
  if (Lane() == 0) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)), "r"(bytes)
                 : "memory");
  }
}
// Addresses and size are multiples of 16.
__device__ __forceinline__ void CopyToStage(uint8_t* to, const void* from, uint32_t bytes,
                                            uint64_t* barrier) {
  if (Lane() == 0) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
            SharedAddress(to)),
        "l"(from), "r"(bytes), "r"(SharedAddress(barrier))
        : "memory");
  }
}
// After the warp's last copy of the fill.
__device__ __forceinline__ void EndStage(uint64_t*) {}

// Returns when a phase of this parity is over: a barrier's first has parity 0.
__device__ __forceinline__ void WaitStage(uint64_t* barrier, uint32_t parity) {
  WaitBarrier(barrier, parity);
}
__device__ __forceinline__ void ArriveAt(uint64_t* barrier) { Arrive(barrier); }

#endif

}  // namespace ternion::cuda
