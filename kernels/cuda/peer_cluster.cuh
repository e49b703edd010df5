#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows.cuh"

// Statistics of a row that a cluster of blocks holds in registers, four channels of a segment a lane. A statistic's parts
// are stored straight into the shared memory of all blocks of the cluster; a barrier there counts their bytes. The
// cluster's own barrier would not do: it orders all stores before it, those to other devices too.
namespace ternion::cuda {

inline constexpr int kMostClusterBlocks = 8;
inline constexpr int kSegment = 32;  // channels of a sum
inline constexpr int kSegmentLanes = kSegment / 4;
inline constexpr int kMostSegments = 1024;

// The parts of one statistic, from all blocks of the cluster.
struct Statistic {
  float parts[kMostSegments];
  uint64_t barrier;
};

__device__ __forceinline__ uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
__device__ __forceinline__ uint32_t BlockOfCluster() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ uint32_t BlocksOfCluster() {
  uint32_t count;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(count));
  return count;
}
// The same place in another block of the cluster.
__device__ __forceinline__ uint32_t InBlock(const void* p, uint32_t block) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(SharedAddress(p)), "r"(block));
  return address;
}

__device__ __forceinline__ int WarpsOfCluster() {
  return static_cast<int>(BlocksOfCluster() * blockDim.x) / kWarp;
}

// One thread. The barrier opens when `bytes` have been stored.
__device__ __forceinline__ void Expect(Statistic& statistic, uint32_t bytes) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(SharedAddress(&statistic.barrier)) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(&statistic.barrier)),
      "r"(bytes)
      : "memory");
}
__device__ __forceinline__ void StorePart(const Statistic& statistic, int i, float part, uint32_t block) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(
                   InBlock(statistic.parts + i, block)),
               "r"(__float_as_uint(part)), "r"(InBlock(&statistic.barrier, block))
               : "memory");
}
// Without a clock: the parts come from the cluster's own blocks, whose waits for peers end.
__device__ __forceinline__ void WaitForParts(const Statistic& statistic) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n .reg .pred p;\n mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;\n"
        " selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(SharedAddress(&statistic.barrier))
        : "memory");
  }
}

// Every thread, first of all: a statistic of the row gets so many parts.
__device__ __forceinline__ void ExpectParts(Statistic& first, int first_parts, Statistic& second,
                                            int second_parts) {
  if (threadIdx.x == 0) {
    Expect(first, static_cast<uint32_t>(first_parts) * 4);
    Expect(second, static_cast<uint32_t>(second_parts) * 4);
  }
  __syncwarp();
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
// Every thread, before the first statistic: the other blocks expect their parts. Nothing is read of what they did before.
__device__ __forceinline__ void WaitForCluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// A lane tells one block the Segment sum of its four terms and its neighbours', those of the segment of `channel`.
__device__ __forceinline__ void TellSegment(const Statistic& statistic, int segments, int channel,
                                            const Four<float>& terms) {
  const float sum = SegmentOf32(terms);
  const uint32_t block = Lane() % kSegmentLanes;
  if (channel / kSegment < segments && block < BlocksOfCluster()) {
    StorePart(statistic, channel / kSegment, sum, block);
  }
}
// The sums of all segments, added; in every thread.
__device__ __forceinline__ float SumOfParts(const Statistic& statistic, int segments) {
  WaitForParts(statistic);
  return SumOfSegments(statistic.parts, segments);
}
// The same of a row with four channels a thread.
__device__ __forceinline__ float SumOverRow(const Statistic& statistic, int segments, int channel,
                                            const Four<float>& terms) {
  TellSegment(statistic, segments, channel, terms);
  return SumOfParts(statistic, segments);
}

// The largest of the row; in every thread. The statistic has WarpsOfCluster parts.
__device__ __forceinline__ uint32_t MaxOverRow(const Statistic& statistic, uint32_t most) {
  const uint32_t of_warp = __reduce_max_sync(kAllLanes, most);
  const auto blocks = static_cast<int>(BlocksOfCluster());
  const int part = static_cast<int>(BlockOfCluster() * blockDim.x) / kWarp + WarpIndex();
  if (Lane() < blocks) StorePart(statistic, part, __uint_as_float(of_warp), static_cast<uint32_t>(Lane()));
  WaitForParts(statistic);
  uint32_t of_row = 0;
  for (int i = Lane(); i < WarpsOfCluster(); i += kWarp)
    of_row = max(of_row, __float_as_uint(statistic.parts[i]));
  return __reduce_max_sync(kAllLanes, of_row);
}

}  // namespace ternion::cuda
