#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// What kernels share on the device. Floats are rounded operation by operation: the build has --fmad=false, so a * b + c
// is a product and a sum.
namespace ternion::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// The first thing in every kernel: lets the next kernel's blocks start as soon as there is room for them.
__device__ __forceinline__ void StartNext() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// The kernels before this one are done and their writes are seen. Every kernel calls it, in every thread that goes on
// to touch memory other than weights.
__device__ __forceinline__ void WaitForPrevious() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The block's barrier `barrier` (1 to 15; 0 is __syncthreads): kThreads threads, whole warps, wait until as many have come.
template <int kThreads>
__device__ __forceinline__ void SyncThreads(int barrier) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"(kThreads) : "memory");
}
// Comes there and does not wait.
template <int kThreads>
__device__ __forceinline__ void ArriveAtBarrier(int barrier) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "n"(kThreads) : "memory");
}

__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int WarpIndex() { return static_cast<int>(threadIdx.x) / kWarp; }

// The tree that halves a warp's 32 numbers, x[i] + x[i + 16] first: Backend's Segment of 32, in every lane.
__device__ __forceinline__ float WarpSegmentSum(float x) {
#pragma unroll
  for (int half = kWarp / 2; half > 0; half /= 2) x += __shfl_xor_sync(kAllLanes, x, half);
  return x;
}

__device__ __forceinline__ float WarpMax(float x) {
#pragma unroll
  for (int half = kWarp / 2; half > 0; half /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, half));
  return x;
}

__device__ __forceinline__ int WarpSum(int x) { return __reduce_add_sync(kAllLanes, x); }

__host__ __device__ constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace ternion::cuda
