// residual += the dequantized sum of all members' partial sums, in one kernel.
//
// A thread owns four neighbouring outputs of a token: it stores its own sums into every peer's inbox, takes the peers'
// from its own, and adds. Latency bounds it: one store over the link and the poll that sees the peer's; so many small
// blocks, all of which run at once.
#include "kernels/cuda/peer_reduce.h"

#include "kernels/check.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/peer_words.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWordsOfThread = 4;

struct ReduceRows {
  const int32_t* partial;     // [T, n]
  const float* row_scale;     // [T]
  const float* weight_scale;  // [n]
  float* residual;            // [T, n]
  int64_t n;
  int64_t inbox_begin;   // of every inbox, words
  int64_t member_words;  // for one member
};

__global__ void __launch_bounds__(kThreads)
    ReduceAddKernel(const __grid_constant__ PeerInboxes peers, const __grid_constant__ ReduceRows rows) {
  StartNext();
  WaitForPrevious();
  const int64_t column = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWordsOfThread;
  if (column >= rows.n) return;
  const int64_t token = blockIdx.y;
  const int64_t at = token * rows.n + column;
  const uint4 mine = *reinterpret_cast<const uint4*>(rows.partial + at);
  for (int p = 0; p < peers.ranks; ++p) {
    if (p != peers.rank)
      StorePeer(peers.of[p] + rows.inbox_begin + peers.rank * rows.member_words + at, mine);
  }
  uint4 sum = mine;
  for (int p = 0; p < peers.ranks; ++p) {
    if (p == peers.rank) continue;
    const uint4 other =
        TakeInbox(peers.of[peers.rank] + rows.inbox_begin + p * rows.member_words + at, peers.fault);
    sum = make_uint4(sum.x + other.x, sum.y + other.y, sum.z + other.z, sum.w + other.w);
  }
  const float row_scale = rows.row_scale[token];
  const float4 scale = *reinterpret_cast<const float4*>(rows.weight_scale + column);
  float4 y = *reinterpret_cast<const float4*>(rows.residual + at);
  y.x += static_cast<float>(static_cast<int32_t>(sum.x)) * (row_scale * scale.x);
  y.y += static_cast<float>(static_cast<int32_t>(sum.y)) * (row_scale * scale.y);
  y.z += static_cast<float>(static_cast<int32_t>(sum.z)) * (row_scale * scale.z);
  y.w += static_cast<float>(static_cast<int32_t>(sum.w)) * (row_scale * scale.w);
  *reinterpret_cast<float4*>(rows.residual + at) = y;
}

}  // namespace

void PeerReduceAdd(const Stream& stream, const PeerInboxes& peers, int64_t inbox_begin, int64_t member_words,
                   TensorView<const int32_t> partial, TensorView<const float> row_scale,
                   TensorView<const float> weight_scale, TensorView<float> residual) {
  CHECK(partial.rows() == residual.rows() && partial.cols() == residual.cols(), "ReduceAdd shapes");
  CHECK(row_scale.size() == partial.rows() && weight_scale.size() == partial.cols(), "ReduceAdd shapes");
  CHECK(partial.cols() % kWordsOfThread == 0 && partial.size() <= member_words,
        "ReduceAdd: the inbox holds the rows");
  if (partial.empty()) return;
  const ReduceRows rows{partial.data(), row_scale.data(), weight_scale.data(), residual.data(),
                        partial.cols(), inbox_begin,      member_words};
  const auto blocks = static_cast<unsigned>(CeilDivide(partial.cols(), kThreads * kWordsOfThread));
  Launch(stream, ReduceAddKernel, {{blocks, static_cast<unsigned>(partial.rows())}, kThreads}, peers, rows);
}

}  // namespace ternion::cuda
