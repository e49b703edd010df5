#pragma once

#include <cstdint>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows.cuh"

// Statistics of a row that a cluster of blocks holds in registers, four channels of a segment a lane. A statistic's parts
// are stored straight into the shared memory of all blocks of the cluster (cluster.cuh).
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

__device__ __forceinline__ uint32_t BlocksOfCluster() {
  uint32_t count;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(count));
  return count;
}
__device__ __forceinline__ int WarpsOfCluster() {
  return static_cast<int>(BlocksOfCluster() * blockDim.x) / kWarp;
}

// Every thread, first of all: a statistic of the row gets so many parts.
__device__ __forceinline__ void ExpectParts(Statistic& first, int first_parts, Statistic& second,
                                            int second_parts) {
  if (threadIdx.x == 0) {
    InitBarrier(&first.barrier, 1);
    InitBarrier(&second.barrier, 1);
    PublishBarriers();
    ExpectBytes(first.barrier, static_cast<uint32_t>(first_parts) * 4);
    ExpectBytes(second.barrier, static_cast<uint32_t>(second_parts) * 4);
  }
  ArriveAtCluster();
}

// A lane tells one block the Segment sum of its four terms and its neighbours', those of the segment of `channel`.
__device__ __forceinline__ void TellSegment(const Statistic& statistic, int segments, int channel,
                                            const Four<float>& terms) {
  const float sum = SegmentOf32(terms);
  const uint32_t block = Lane() % kSegmentLanes;
  if (channel / kSegment < segments && block < BlocksOfCluster()) {
    StoreInBlock(statistic.parts + channel / kSegment, __float_as_uint(sum), statistic.barrier, block);
  }
}
// The sums of all segments, added; in every thread.
__device__ __forceinline__ float SumOfParts(const Statistic& statistic, int segments) {
  WaitForStores(statistic.barrier);
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
  if (Lane() < blocks)
    StoreInBlock(statistic.parts + part, of_warp, statistic.barrier, static_cast<uint32_t>(Lane()));
  WaitForStores(statistic.barrier);
  uint32_t of_row = 0;
  for (int i = Lane(); i < WarpsOfCluster(); i += kWarp)
    of_row = max(of_row, __float_as_uint(statistic.parts[i]));
  return __reduce_max_sync(kAllLanes, of_row);
}

}  // namespace ternion::cuda
