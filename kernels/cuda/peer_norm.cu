// ReduceAdd and NormQuantize in one kernel: a cluster of up to eight blocks a row, four channels a thread, so that a row
// leaves for the peers over many multiprocessors and waits for theirs in registers. Bound by latency: the link, then two
// statistics of the row, each of which every block needs.
#include "kernels/cuda/peer_norm.h"

#include <numeric>

#include "kernels/check.h"
#include "kernels/cuda/peer_cluster.cuh"
#include "kernels/cuda/peer_words.cuh"

namespace ternion::cuda {
namespace {

constexpr int kBlockThreads = 256;  // at most

struct NormWork {
  PeerInboxes peers;
  int64_t inbox_begin = 0;
  int64_t member_words = 0;
  const int32_t* partial = nullptr;     // [T, n]
  const float* row_scale = nullptr;     // [T]
  const float* weight_scale = nullptr;  // [n]
  float* residual = nullptr;            // [T, n]
  const float* norm_weight = nullptr;   // [n]
  float eps = 0;
  int n = 0;
  int8_t* codes = nullptr;  // [T, n]
  float* scales = nullptr;  // [T]
};

// The members' sums of a thread's four channels.
[[maybe_unused]] __device__ __forceinline__ uint4 ExchangeSums(const NormWork& work, int64_t at) {
  const PeerInboxes& peers = work.peers;
  const uint4 mine = *reinterpret_cast<const uint4*>(work.partial + at);
  for (int p = 0; p < peers.ranks; ++p) {
    if (p != peers.rank)
      StorePeer(peers.of[p] + work.inbox_begin + peers.rank * work.member_words + at, mine);
  }
  uint4 sum = mine;
  for (int p = 0; p < peers.ranks; ++p) {
    if (p == peers.rank) continue;
    const uint4 other =
        TakeInbox(peers.of[peers.rank] + work.inbox_begin + p * work.member_words + at, peers.fault);
    sum = make_uint4(sum.x + other.x, sum.y + other.y, sum.z + other.z, sum.w + other.w);
  }
  return sum;
}

// Empty in builds for devices without clusters.
template <bool kInt4>
__global__ void __launch_bounds__(kBlockThreads) ReduceNormKernel(NormWork work) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  __shared__ Statistic squares, magnitudes;
  StartNext();
  const auto blocks = static_cast<int>(BlocksOfCluster()), row = static_cast<int>(blockIdx.x) / blocks;
  const int segments = work.n / kSegment;
  ExpectParts(squares, segments, magnitudes, kInt4 ? segments : WarpsOfCluster());
  const int channel = 4 * static_cast<int>(BlockOfCluster() * blockDim.x + threadIdx.x);
  const bool here = channel < work.n;
  Four<float> weight = {}, x = {};
  float4 scale = {};
  if (here) {
    weight = *reinterpret_cast<const Four<float>*>(work.norm_weight + channel);
    scale = *reinterpret_cast<const float4*>(work.weight_scale + channel);
  }
  WaitForPrevious();
  const int64_t at = int64_t{row} * work.n + channel;
  if (here) {
    const float row_scale = work.row_scale[row];
    x = *reinterpret_cast<const Four<float>*>(work.residual + at);
    const uint4 sum = ExchangeSums(work, at);
    x.v[0] += static_cast<float>(static_cast<int32_t>(sum.x)) * (row_scale * scale.x);
    x.v[1] += static_cast<float>(static_cast<int32_t>(sum.y)) * (row_scale * scale.y);
    x.v[2] += static_cast<float>(static_cast<int32_t>(sum.z)) * (row_scale * scale.z);
    x.v[3] += static_cast<float>(static_cast<int32_t>(sum.w)) * (row_scale * scale.w);
    *reinterpret_cast<Four<float>*>(work.residual + at) = x;
  }
  WaitForCluster();
  const auto width = static_cast<float>(work.n);
  const float root = RootMeanSquare(SumOverRow(squares, segments, channel, Squares(x)), width, work.eps);
  x = Normalized(x, root, weight);
  CodeUnit unit;
  if constexpr (kInt4) {
    unit = Int4Unit(SumOverRow(magnitudes, segments, channel, Magnitudes(x)) / width);
  } else {
    unit = Int8Unit(__uint_as_float(MaxOverRow(magnitudes, MostMagnitude(x))), kInt8Floor);
  }
  if (here) *reinterpret_cast<Four<int8_t>*>(work.codes + at) = Codes(x, unit);
  if (channel == 0) work.scales[row] = unit.scale;
#endif
}

}  // namespace

bool PeerNormFits(const CudaBackend& backend, int64_t n) {
  return backend.properties().major >= 9 && n % kSegment == 0 &&
         n <= int64_t{4} * kMostClusterBlocks * kBlockThreads;
}

void PeerReduceNorm(const CudaBackend& backend, const PeerInboxes& peers, int64_t inbox_begin,
                    int64_t member_words, const ReduceNorm& what) {
  const int64_t rows = what.residual.rows(), n = what.residual.cols();
  CHECK(what.partial.rows() == rows && what.partial.cols() == n, "ReduceAddNormQuantize shapes");
  CHECK(what.row_scale.size() == rows && what.weight_scale.size() == n, "ReduceAddNormQuantize shapes");
  CHECK(what.norm_weight.size() == n && what.out.scales.size() == rows, "ReduceAddNormQuantize shapes");
  CHECK(what.out.codes.rows() == rows && what.out.codes.cols() == n, "ReduceAddNormQuantize shapes");
  CHECK(PeerNormFits(backend, n) && rows * n <= member_words,
        "ReduceAddNormQuantize: the inbox holds the rows");
  if (rows == 0) return;
  NormWork work;
  work.peers = peers;
  work.inbox_begin = inbox_begin;
  work.member_words = member_words;
  work.partial = what.partial.data();
  work.row_scale = what.row_scale.data();
  work.weight_scale = what.weight_scale.data();
  work.residual = what.residual.data();
  work.norm_weight = what.norm_weight.data();
  work.eps = what.eps;
  work.n = static_cast<int>(n);
  work.codes = what.out.codes.data();
  work.scales = what.out.scales.data();
  const int64_t warps = CeilDivide(n, 4 * kWarp);
  const int64_t blocks = std::clamp<int64_t>(CeilDivide(warps, 4), 2, kMostClusterBlocks);
  LaunchShape shape{dim3(static_cast<unsigned>(rows * blocks)),
                    dim3(static_cast<unsigned>(CeilDivide(warps, blocks) * kWarp))};
  shape.cluster = static_cast<int>(blocks);
  Launch(backend.launch_stream(), what.int4 ? ReduceNormKernel<true> : ReduceNormKernel<false>, shape, work);
}

}  // namespace ternion::cuda
