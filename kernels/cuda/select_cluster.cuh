#pragma once

#include <cstdint>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/select_kth.cuh"

// KthLargestBits (select_kth.cuh) of a row that a cluster of blocks holds. Blocks tell each other their counts of a digit, so
// that each can choose it. Once no more numbers are left than a warp has lanes, they tell each other these instead of
// counting further digits: two passes and the finalists, where magnitudes are spread as usual.
namespace ternion::cuda {

// Numbers of a row, with the zeros beyond its end: counts travel in 16 bits.
inline constexpr int kMostOfRow = 32768;

// In every block's shared memory. InitSelection, ExpectCounts and ClearCounts before the blocks meet (cluster.cuh).
struct ClusterSelection {
  int count[kDigitPasses][kDigits];  // of the block's own numbers
  // Every block's counts, kLaneDigits of 16 bits each; passes take turns.
  uint4 told[2][kClusterBlocks][kWarp];
  uint32_t finalists[kWarp];
  int found;  // finalists of the block's own
  uint64_t counted[kDigitPasses];
  uint64_t gathered;
};

// One thread, the first before PublishBarriers, the second behind it.
__device__ __forceinline__ void InitSelection(ClusterSelection& selection) {
  selection.found = 0;
  InitBarrier(&selection.gathered, 1);
  for (uint64_t& barrier : selection.counted) InitBarrier(&barrier, 1);
}
__device__ __forceinline__ void ExpectCounts(const ClusterSelection& selection) {
  for (const uint64_t& barrier : selection.counted) ExpectBytes(barrier, sizeof(selection.told[0]));
}
// Every thread; a barrier of the block follows.
__device__ __forceinline__ void ClearCounts(ClusterSelection& selection) {
  int* const counts = &selection.count[0][0];
  for (int i = static_cast<int>(threadIdx.x); i < kDigitPasses * kDigits; i += static_cast<int>(blockDim.x))
    counts[i] = 0;
}

// The block's counts to all blocks, one or more of them by each warp.
__device__ __forceinline__ void TellCounts(ClusterSelection& selection, int pass) {
  const auto* const counts = reinterpret_cast<const int4*>(selection.count[pass]);
  const int4 low = counts[2 * Lane()], high = counts[2 * Lane() + 1];
  const auto pair = [](int even, int odd) { return static_cast<uint32_t>(even | odd << 16); };
  const uint4 words = {pair(low.x, low.y), pair(low.z, low.w), pair(high.x, high.y), pair(high.z, high.w)};
  for (int block = WarpIndex(); block < kClusterBlocks; block += static_cast<int>(blockDim.x) / kWarp) {
    StoreInBlock(&selection.told[pass % 2][BlockOfCluster()][Lane()], words, selection.counted[pass],
                 static_cast<uint32_t>(block));
  }
}

__device__ __forceinline__ ChosenDigit ChooseDigitOfRow(const ClusterSelection& selection, int pass, int k) {
  WaitForStores(selection.counted[pass]);
  uint4 sum = {};
#pragma unroll
  for (int block = 0; block < kClusterBlocks; ++block) {
    const uint4 told = selection.told[pass % 2][block][Lane()];
    sum = make_uint4(sum.x + told.x, sum.y + told.y, sum.z + told.z, sum.w + told.w);
  }
  const uint32_t pairs[] = {sum.x, sum.y, sum.z, sum.w};
  int count[kLaneDigits];
#pragma unroll
  for (int i = 0; i < kLaneDigits; ++i) count[i] = static_cast<int>(pairs[i / 2] >> 16 * (i % 2) & 0xffff);
  return ChooseDigit(count, k);
}

// The bits of the k-th largest of the numbers with the digit chosen in `pass`, at most a warp's. for_each as in
// KthLargestBits, but only of these numbers.
__device__ __forceinline__ uint32_t KthFinalist(ClusterSelection& selection, int pass,
                                                const ChosenDigit& chosen, auto for_each) {
  if (threadIdx.x == 0) ExpectBytes(selection.gathered, static_cast<uint32_t>(chosen.count) * 4);
  const auto* const told =
      reinterpret_cast<const uint16_t*>(selection.told[pass % 2][Lane() % kClusterBlocks]);
  const int before = WarpSum(Lane() < static_cast<int>(BlockOfCluster()) ? told[chosen.digit] : 0);
  for_each([&](uint32_t bits) {
    const int place = before + atomicAdd(&selection.found, 1);
#pragma unroll
    for (int block = 0; block < kClusterBlocks; ++block)
      StoreInBlock(selection.finalists + place, bits, selection.gathered, static_cast<uint32_t>(block));
  });
  WaitForStores(selection.gathered);
  const uint32_t mine = Lane() < chosen.count ? selection.finalists[Lane()] : 0;
  int above = 0, not_below = 0;
  for (int i = 0; i < chosen.count; ++i) {
    const uint32_t other = selection.finalists[i];
    above += other > mine;
    not_below += other >= mine;
  }
  const bool is_kth = Lane() < chosen.count && above < chosen.k && chosen.k <= not_below;
  const int lane = __ffs(static_cast<int>(__ballot_sync(kAllLanes, is_kth))) - 1;
  return __shfl_sync(kAllLanes, mine, lane);
}

// The bits of the row's k-th largest, in every thread of the cluster. at_barrier() is called behind the block's first barrier.
__device__ __forceinline__ uint32_t KthLargestOfRow(int k, ClusterSelection& selection, auto for_each,
                                                    auto at_barrier) {
  uint32_t known = 0;
  int known_from = 31;  // the bits from this one on are known
#pragma unroll 1
  for (int pass = 0;; ++pass) {
    const int shift = max(known_from - 8, 0);
    const uint32_t mask = (1u << (known_from - shift)) - 1;
    for_each([&](uint32_t bits) {
      if (bits >> known_from == known) atomicAdd(&selection.count[pass][bits >> shift & mask], 1);
    });
    __syncthreads();
    TellCounts(selection, pass);
    if (pass == 0) at_barrier();
    const ChosenDigit chosen = ChooseDigitOfRow(selection, pass, k);
    known = known << (known_from - shift) | static_cast<uint32_t>(chosen.digit);
    known_from = shift;
    k = chosen.k;
    if (known_from == 0) return known;
    if (chosen.count > kWarp) continue;
    return KthFinalist(selection, pass, chosen, [&](auto take) {
      for_each([&](uint32_t bits) {
        if (bits >> known_from == known) take(bits);
      });
    });
  }
}

}  // namespace ternion::cuda
