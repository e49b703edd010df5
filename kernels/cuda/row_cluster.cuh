#pragma once

#include <cstdint>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/quantize_row.cuh"
#include "kernels/cuda/select_cluster.cuh"

// A row's way from floats to codes as the work of a cluster of blocks, in registers. Bound by what blocks wait for, so they
// tell each other little: of every 32 segments, one for each lane that adds segments (SumOfSegments), a block holds those of
// a few lanes, all that these lanes add. It adds them itself, in order, and tells the others one sum a lane.
namespace ternion::cuda {

inline constexpr int kRowSegment = 32;                    // channels of a sum
inline constexpr int kGroup = kWarp * kRowSegment;        // channels of 32 segments
inline constexpr int kMostGroups = kMostOfRow / kGroup;   // of a row
inline constexpr int kOwnLanes = kWarp / kClusterBlocks;  // whose segments a block holds

// One statistic's parts: the sums of the 32 lanes, or the largest of each block.
struct RowParts {
  uint32_t part[kWarp];
  uint64_t barrier;
};

// What the blocks of a row tell each other; in shared memory.
struct RowExchange {
  RowParts squares, last;  // last: what the codes' unit is made of
  // The block's segments by the lane that adds them; zeros behind the last group.
  float4 segments[kOwnLanes][kMostGroups / 4 + 1];
  uint32_t most[kWarp];  // of every warp of the block
};

// A thread has four channels, eight neighbours a segment; the segments of a block are numbered group by group.
struct RowPlace {
  const int segment = static_cast<int>(threadIdx.x) / (kRowSegment / 4);
  const int group = segment / kOwnLanes;
  const int own_lane = segment % kOwnLanes;  // of the block's, the one that adds the segment
  const int channel = group * kGroup +
                      (static_cast<int>(BlockOfCluster()) * kOwnLanes + own_lane) * kRowSegment +
                      4 * (static_cast<int>(threadIdx.x) % (kRowSegment / 4));
};

// Every thread, first of all; WaitForCluster before PrepareClusterRow. A selection where the row keeps its largest only.
__device__ __forceinline__ void BeginRow(RowExchange& exchange, bool int4, ClusterSelection* selection) {
  if (threadIdx.x == 0) {
    InitBarrier(&exchange.squares.barrier, 1);
    InitBarrier(&exchange.last.barrier, 1);
    if (selection != nullptr) InitSelection(*selection);
    PublishBarriers();
    ExpectBytes(exchange.squares.barrier, 4 * kWarp);
    ExpectBytes(exchange.last.barrier, 4 * (int4 ? kWarp : kClusterBlocks));
    if (selection != nullptr) ExpectCounts(*selection);
  }
  auto* const segments = reinterpret_cast<float*>(exchange.segments);
  constexpr int kFloats = sizeof(exchange.segments) / sizeof(float);
  for (int i = static_cast<int>(threadIdx.x); i < kFloats; i += static_cast<int>(blockDim.x)) segments[i] = 0;
  if (selection != nullptr) ClearCounts(*selection);
  __syncthreads();
  ArriveAtCluster();
}

// Added in ascending order; `sums` holds zeros from `groups` on.
__device__ __forceinline__ float SumOfGroups(const float4* sums, int groups) {
  float sum = 0;
#pragma unroll
  for (int group = 0; group < kMostGroups; group += 8) {
    if (group >= groups) break;
    const float4 low = sums[group / 4], high = sums[group / 4 + 1];
    sum = (((sum + low.x) + low.y) + low.z) + low.w;
    sum = (((sum + high.x) + high.y) + high.z) + high.w;
  }
  return sum;
}

// The row's segment sums of the terms, added; in every thread.
__device__ __forceinline__ float SumOverRow(RowExchange& exchange, RowParts& parts, int n,
                                            const RowPlace& place, const Four<float>& terms) {
  const float of_segment = SegmentOf32(terms);
  const int groups = static_cast<int>(CeilDivide(n, kGroup));
  if (Lane() % (kRowSegment / 4) == 0)
    reinterpret_cast<float*>(exchange.segments[place.own_lane])[place.group] = of_segment;
  __syncthreads();
  if (WarpIndex() == 0) {  // a thread for every block and lane of this one
    const float of_lane = SumOfGroups(exchange.segments[Lane() % kOwnLanes], groups);
    StoreInBlock(parts.part + BlockOfCluster() * kOwnLanes + Lane() % kOwnLanes, __float_as_uint(of_lane),
                 parts.barrier, static_cast<uint32_t>(Lane() / kOwnLanes));
  }
  WaitForStores(parts.barrier);
  return WarpSegmentSum(__uint_as_float(parts.part[Lane()]));
}

// The row's largest magnitude in three steps: to the block, behind its barrier to the others, from all.
__device__ __forceinline__ void PutLargest(RowExchange& exchange, const Four<float>& x) {
  const uint32_t most = __reduce_max_sync(kAllLanes, MostMagnitude(x));
  if (Lane() == 0) exchange.most[WarpIndex()] = most;
}
__device__ __forceinline__ void TellLargest(RowExchange& exchange) {
  if (WarpIndex() != 0) return;
  const bool is_warp = Lane() < static_cast<int>(blockDim.x) / kWarp;
  const uint32_t most = __reduce_max_sync(kAllLanes, is_warp ? exchange.most[Lane()] : 0u);
  if (Lane() < kClusterBlocks) {
    StoreInBlock(exchange.last.part + BlockOfCluster(), most, exchange.last.barrier,
                 static_cast<uint32_t>(Lane()));
  }
}
__device__ __forceinline__ float TakeLargest(const RowExchange& exchange) {
  WaitForStores(exchange.last.barrier);
  const uint32_t most = Lane() < kClusterBlocks ? exchange.last.part[Lane()] : 0u;
  return __uint_as_float(__reduce_max_sync(kAllLanes, most));
}

// From a thread's channels, zeros beyond the row's end, to the unit of the row's codes.
__device__ __forceinline__ CodeUnit PrepareClusterRow(const RowWork& work, RowExchange& exchange,
                                                      ClusterSelection* selection, const RowPlace& place,
                                                      const Four<float>& weight, Four<float>& x) {
  const auto width = static_cast<float>(work.n);
  if (work.weight != nullptr) {
    const float sum = SumOverRow(exchange, exchange.squares, work.n, place, Squares(x));
    const Quotient root(RootMeanSquare(sum, width, work.eps));
    // What lies beyond the end stays zero, whatever the root.
    if (place.channel < work.n) {
      const bool exact = __builtin_expect(root.exact(), true);
      x = exact ? Normalized(x, root, weight) : Normalized(x, root.by(), weight);
    }
  }
  if (work.int4) {
    return Int4Unit(SumOverRow(exchange, exchange.last, work.n, place, Magnitudes(x)) / width);
  }
  PutLargest(exchange, x);
  if (selection == nullptr) {
    __syncthreads();
    TellLargest(exchange);
  } else {
    // The largest of all is among those kept.
    const auto for_each = [&](auto use) {
#pragma unroll
      for (int i = 0; i < 4; ++i) use(MagnitudeBits(x.v[i]));
    };
    const float least =
        __uint_as_float(KthLargestOfRow(work.keep, *selection, for_each, [&] { TellLargest(exchange); }));
    x = Map(x, [least](float value) { return ZeroedBelow(least, value); });
  }
  return Int8Unit(TakeLargest(exchange), kInt8Floor);
}

// The norm's weights of a thread's channels.
__device__ __forceinline__ Four<float> LoadWeights(const RowWork& work, int channel) {
  return work.weight != nullptr && channel < work.n ? LoadFour<true>(work.weight + channel, 4)
                                                    : Four<float>{};
}

// Whether a cluster takes the row; pointers to it and its codes aside.
inline bool RowFitsACluster(const cudaDeviceProp& properties, const RowWork& work) {
  return properties.major >= 9 && work.n <= kMostOfRow && work.n % kRowSegment == 0 &&
         (work.weight == nullptr || work.segment == kRowSegment) &&
         reinterpret_cast<uintptr_t>(work.weight) % sizeof(Four<float>) == 0;
}

inline LaunchShape ClustersOfRows(int64_t rows, int64_t n) {
  constexpr int64_t kGroupThreads = kGroup / 4 / kClusterBlocks;
  static_assert(kGroupThreads % kWarp == 0, "whole warps");
  LaunchShape shape{dim3(static_cast<unsigned>(rows * kClusterBlocks)),
                    dim3(static_cast<unsigned>(CeilDivide(n, kGroup) * kGroupThreads))};
  shape.cluster = kClusterBlocks;
  return shape;
}

}  // namespace ternion::cuda
