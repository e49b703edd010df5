// Sums of rounded rows: every member encodes the rows of each other member while it stores them into that member's inbox,
// and of its own rows adds what came from the others to what it would have sent itself.
//
// A warp takes a unit of 1,024 channels to send and the unit of the same number to add up, one behind: while its bytes
// travel it works on what was sent before. Bound by reading the rows, or by the link.
#include "kernels/cuda/peer_rounded.h"

#include "kernels/check.h"
#include "kernels/cuda/peer_codec.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 2;  // of a multiprocessor: all run at once
constexpr int64_t kUnitChannels = kWarpChannels;

struct ReduceWork {
  BlockInbox inbox;
  const float* partial = nullptr;  // [T, n]
  const float* extra = nullptr;    // [T]
  float* to = nullptr;             // of this member's rows of the slice
  float* extra_sum = nullptr;
  float width = 1;
  float eps = 0;
  int n = 0;
  int stride = 0;  // words of a section for a unit
  SlicedRows slice;
};

// A lane's channels of a unit: zeros from `end` on.
__device__ __forceinline__ LaneChannels LoadChannels(const float* x, int64_t begin, int64_t end) {
  LaneChannels lane;
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    const int64_t at = begin + s * kStepChannels + Lane() * kLaneChannels;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float4 four = at < end ? reinterpret_cast<const float4*>(x + at)[half] : float4{};
      lane.v[s][4 * half] = four.x, lane.v[s][4 * half + 1] = four.y;
      lane.v[s][4 * half + 2] = four.z, lane.v[s][4 * half + 3] = four.w;
    }
  }
  return lane;
}

__device__ __forceinline__ RowsOfUnit RowsOf(int64_t begin, int64_t end, int n) {
  return {begin, min(begin + kUnitChannels, end), n};
}

template <bool kInt4>
__device__ __forceinline__ void SendUnit(const ReduceWork& work, int to, int64_t unit) {
  const int me = work.inbox.peers.rank;
  const int64_t begin = unit * kUnitChannels, end = work.slice.rows[to] * work.n;
  if (begin >= end) return;
  uint32_t* const there = Section(work.inbox, me, to) + unit * work.stride;
  PeerCodec<kInt4> codec;
  codec.Encode(LoadChannels(work.partial + work.slice.first[to] * work.n, begin, end));
  codec.Store(there);
  if (work.extra == nullptr) return;
  const RowsOfUnit rows = RowsOf(begin, end, work.n);
  if (Lane() >= rows.count) return;
  const float extra = work.extra[work.slice.first[to] + rows.first + Lane()];
  StoreWord(there + codec.kWords + Lane(), __float_as_uint(extra + 0.0f));  // -0 would be an empty word
}

// The extra floats of a unit's rows, summed: lane i has row i's.
template <bool kInt4>
__device__ __forceinline__ float SumExtra(const ReduceWork& work, const RowsOfUnit& rows, int64_t unit) {
  const PeerInboxes& peers = work.inbox.peers;
  float sum = 0;
  if (Lane() >= rows.count) return sum;
  for (int from = 0; from < peers.ranks; ++from) {
    float share;
    if (from == peers.rank) {
      share = work.extra[work.slice.first[from] + rows.first + Lane()] + 0.0f;
    } else {
      uint32_t* const at =
          Section(work.inbox, from, peers.rank) + unit * work.stride + PeerCodec<kInt4>::kWords + Lane();
      uint32_t word;
      WaitUntil([&] { return (word = LoadWord(at)) != kEmptyWord; }, peers.fault);
      StoreWord(at, kEmptyWord);
      share = __uint_as_float(word);
    }
    sum = from == 0 ? share : sum + share;
  }
  if (work.extra_sum != nullptr) work.extra_sum[rows.first + Lane()] = sum;
  return sum;
}

__device__ __forceinline__ float4 Plus(float4 a, float4 b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}
__device__ __forceinline__ float4 Times(float4 a, float b) { return {a.x * b, a.y * b, a.z * b, a.w * b}; }

// The members' shares of a unit, added up in their order.
template <bool kInt4>
__device__ __forceinline__ void SumShares(const ReduceWork& work, int64_t unit, float4 (&sum)[kSteps][2]) {
  const PeerInboxes& peers = work.inbox.peers;
  const int me = peers.rank;
  PeerCodec<kInt4> own;
  own.Encode(LoadChannels(work.partial + work.slice.first[me] * work.n, unit * kUnitChannels,
                          work.slice.rows[me] * work.n));
  for (int from = 0; from < peers.ranks; ++from) {
    PeerCodec<kInt4> share = own;
    if (from != me) share.Take(Section(work.inbox, from, me) + unit * work.stride, peers.fault);
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float4 value = share.Decode(s, half);
        sum[s][half] = from == 0 ? value : Plus(sum[s][half], value);
      }
    }
  }
}

template <bool kInt4, bool kAdd>
__device__ __forceinline__ void AddUpUnit(const ReduceWork& work, int64_t unit) {
  const int64_t begin = unit * kUnitChannels, end = work.slice.rows[work.inbox.peers.rank] * work.n;
  if (begin >= end) return;
  float4 sum[kSteps][2];
  SumShares<kInt4>(work, unit, sum);
  const RowsOfUnit rows = RowsOf(begin, end, work.n);
  float factor_of_row = 1.0f;  // in the row's lane
  if (work.extra != nullptr) {
    factor_of_row = 1.0f / RootMeanSquare(SumExtra<kInt4>(work, rows, unit), work.width, work.eps);
  }
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    const int channel = s * kStepChannels + Lane() * kLaneChannels;
    const float factor = __shfl_sync(kAllLanes, factor_of_row, rows.Of(channel));
    if (begin + channel >= end) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float4* const there = reinterpret_cast<float4*>(work.to + begin + channel) + half;
      float4 y = sum[s][half];
      if constexpr (kAdd) y = Plus(*there, work.extra != nullptr ? Times(y, factor) : y);
      *there = y;
    }
  }
}

template <bool kInt4, bool kAdd>
__global__ void __launch_bounds__(kThreads, kBlocks)
    ReduceRoundedKernel(const __grid_constant__ ReduceWork work, int64_t units) {
  StartNext();
  WaitForPrevious();
  const PeerInboxes& peers = work.inbox.peers;
  const int64_t warps = int64_t{gridDim.x} * (kThreads / kWarp);
  for (int64_t unit = int64_t{WarpIndex()} * gridDim.x + blockIdx.x; unit < units + warps; unit += warps) {
    for (int distance = 1; unit < units && distance < peers.ranks; ++distance) {
      SendUnit<kInt4>(work, (peers.rank + distance) % peers.ranks, unit);
    }
    if (unit >= warps) AddUpUnit<kInt4, kAdd>(work, unit - warps);
  }
}

void LaunchReduce(const CudaBackend& backend, bool int4, bool add, const ReduceWork& work, int64_t units) {
  const auto kernel = int4 ? (add ? ReduceRoundedKernel<true, true> : ReduceRoundedKernel<true, false>)
                           : (add ? ReduceRoundedKernel<false, true> : ReduceRoundedKernel<false, false>);
  const auto grid =
      static_cast<unsigned>(std::min<int64_t>(units, int64_t{kBlocks} * backend.multiprocessors()));
  Launch(backend.launch_stream(), kernel, {dim3(grid), dim3(kThreads)}, work, units);
}

}  // namespace

void PeerReduceRounded(const CudaBackend& backend, absl::FunctionRef<BlockInbox()> turn,
                       const RoundedRows& rows, const RoundedSums& sums) {
  const int64_t n = rows.partial.cols();
  const UnitPlan plan{kUnitChannels, rows.int4 ? PeerCodec<true>::kWords : PeerCodec<false>::kWords, n};
  int64_t slice_rows = 0;
  for (int64_t begin = 0; begin < MostRowsOwned(rows.owned); begin += slice_rows) {
    ReduceWork work;
    work.inbox = turn();
    slice_rows = plan.SliceRows(work.inbox);
    CHECK(slice_rows > 0, "a section holds a row");
    work.partial = rows.partial.data();
    work.extra = rows.extra;
    work.to = sums.to + begin * n;
    if (sums.extra_sum != nullptr) work.extra_sum = sums.extra_sum + begin;
    work.width = sums.width;
    work.eps = sums.eps;
    work.n = static_cast<int>(n);
    work.stride = static_cast<int>(plan.Stride());
    work.slice = SlicedRows::Of(rows.owned, begin, slice_rows);
    LaunchReduce(backend, rows.int4, sums.add, work, CeilDivide(work.slice.most * n, kUnitChannels));
  }
}

}  // namespace ternion::cuda
