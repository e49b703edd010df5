// QuantizeShare of rows that keep their largest channels, of which every device holds a part. A device finds the least
// magnitude that is kept for its share of the rows: a block sends its device's channels of a row to each of the other
// members, takes theirs of a row of its own, selects, and answers with the number found. All in one kernel, so that rows
// are read once from memory. Bound by the link and by the selection.
#include <numeric>
#include <vector>

#include "kernels/check.h"
#include "kernels/cuda/peer_blocks.cuh"
#include "kernels/cuda/peer_share.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;

struct LargestWork {
  BlockInbox inbox;
  int64_t answers = 0;  // words into every inbox; [member][row of the slice]
  RowWork row;
  float floor = 0;
  float* squares = nullptr;  // [T]
  int keep = 0;
  int others = 0;  // channels of a row that the other members hold
  int columns[kMostPeers] = {};
  int64_t row_words = 0;  // of a section
  SlicedRows slice;       // those that a member selects for
};

// A magnitude is never an empty word.
__device__ __forceinline__ uint4 MagnitudeWords(const Four<float>& x) {
  return {MagnitudeBits(x.v[0]), MagnitudeBits(x.v[1]), MagnitudeBits(x.v[2]), MagnitudeBits(x.v[3])};
}

__device__ __forceinline__ uint32_t* Answer(const LargestWork& work, int from, int to, int64_t i) {
  return work.inbox.peers.of[to] + work.answers + from * kSelectionRows + i;
}

template <int kFours>
__device__ __forceinline__ void SendRow(const LargestWork& work, int to, int64_t i, Four<float>* shared) {
  const int me = work.inbox.peers.rank;
  const int64_t row_index = work.slice.first[to] + i;
  OwnChannels<kFours> row = LoadShare<kFours>(work.row, row_index);
  ScaleShare(work.row, shared, work.squares + row_index, row);
  uint32_t* const there = Section(work.inbox, me, to) + i * work.row_words;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    if (row.Index(v) < work.row.n / 4) StorePeer(there + 4 * row.Index(v), MagnitudeWords(row.x[v]));
  }
}

// The magnitudes of the other members' channels, one behind the other in any order.
template <int kFours>
__device__ __forceinline__ void TakeOthers(const LargestWork& work, int64_t i, uint4 (&others)[kFours]) {
  const PeerInboxes& peers = work.inbox.peers;
  const int me = peers.rank;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    others[v] = {};
    int channel = 4 * OwnChannels<kFours>::Index(v), from = me == 0 ? 1 : 0;
    if (channel >= work.others) continue;
    while (channel >= work.columns[from]) {
      channel -= work.columns[from];
      from += from + 1 == me ? 2 : 1;
    }
    others[v] = TakeInbox(Section(work.inbox, from, me) + i * work.row_words + channel, peers.fault);
  }
}

template <int kFours>
__device__ __forceinline__ void QuantizeAbove(const LargestWork& work, uint32_t kth, int64_t row_index,
                                              OwnChannels<kFours>& row) {
  const float least = __uint_as_float(kth);
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    row.x[v] = Map(row.x[v], [least](float value) { return ZeroedBelow(least, value); });
  }
  StoreShareCodes(work.row, work.floor, row_index, row);
}

template <int kFours>
__device__ __forceinline__ void SelectOwnRow(const LargestWork& work, int64_t i, Four<float>* shared) {
  const PeerInboxes& peers = work.inbox.peers;
  const int64_t row_index = work.slice.first[peers.rank] + i;
  OwnChannels<kFours> row = LoadShare<kFours>(work.row, row_index);
  ScaleShare(work.row, shared, work.squares + row_index, row);
  uint4 others[kFours];
  TakeOthers(work, i, others);
  const uint32_t kth = KthLargestBits(work.keep, [&](auto count) {
#pragma unroll
    for (int v = 0; v < kFours; ++v) {
#pragma unroll
      for (int j = 0; j < 4; ++j) count(MagnitudeBits(row.x[v].v[j]));
      count(others[v].x), count(others[v].y), count(others[v].z), count(others[v].w);
    }
  });
  const int to = static_cast<int>(threadIdx.x);
  if (to < peers.ranks && to != peers.rank) StoreWord(Answer(work, peers.rank, to, i), kth);
  QuantizeAbove(work, kth, row_index, row);
}

// A row that `by` has selected for.
template <int kFours>
__device__ __forceinline__ void TakeAnswer(const LargestWork& work, int by, int64_t i, Four<float>* shared) {
  __shared__ uint32_t answer;
  const PeerInboxes& peers = work.inbox.peers;
  const int64_t row_index = work.slice.first[by] + i;
  OwnChannels<kFours> row = LoadShare<kFours>(work.row, row_index);
  ScaleShare(work.row, shared, static_cast<float*>(nullptr), row);
  if (threadIdx.x == 0) {
    uint32_t* const word = Answer(work, by, peers.rank, i);
    uint32_t found = 0;
    WaitUntil([&] { return (found = LoadWord(word)) != kEmptyWord; }, peers.fault);
    StoreWord(word, kEmptyWord);
    answer = found;
  }
  __syncthreads();
  QuantizeAbove(work, answer, row_index, row);
}

template <int kFours>
__global__ void __launch_bounds__(kThreads, kFours <= 4 ? 3 : 2)
    QuantizeLargestKernel(const __grid_constant__ LargestWork work) {
  extern __shared__ Four<float> shared[];
  StartNext();
  FetchWeights<kFours>(work.row, shared);
  WaitForPrevious();
  const PeerInboxes& peers = work.inbox.peers;
  for (int64_t i = blockIdx.x; i < work.slice.most; i += gridDim.x) {
    for (int distance = 1; distance < peers.ranks; ++distance) {
      const int to = (peers.rank + distance) % peers.ranks;
      if (i < work.slice.rows[to]) SendRow<kFours>(work, to, i, shared);
    }
    if (i < work.slice.rows[peers.rank]) SelectOwnRow<kFours>(work, i, shared);
    for (int distance = 1; distance < peers.ranks; ++distance) {
      const int by = (peers.rank + distance) % peers.ranks;
      if (i < work.slice.rows[by]) TakeAnswer<kFours>(work, by, i, shared);
    }
  }
}

template <int kFours>
void LaunchLargest(const CudaBackend& backend, const LargestWork& work) {
  AllowSharedMemory(QuantizeLargestKernel<kFours>,
                    backend.properties().sharedMemPerBlockOptin - kStaticBytes);
  // Blocks that wait for peers must all be there.
  int blocks = 1;
  CUDA_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, QuantizeLargestKernel<kFours>, kThreads,
                                                           SharedBytes(work.row)));
  LaunchShape shape{dim3(static_cast<unsigned>(
                        std::min<int64_t>(work.slice.most, int64_t{blocks} * backend.multiprocessors()))),
                    dim3(kThreads)};
  shape.shared_bytes = SharedBytes(work.row);
  Launch(backend.launch_stream(), QuantizeLargestKernel<kFours>, shape, work);
}

}  // namespace

bool QuantizeLargestShare(const CudaBackend& backend, absl::FunctionRef<SelectionInbox()> turn,
                          const ShareRows& rows) {
  LargestWork work;
  work.row = WorkOf(rows);
  int64_t width = 0, most_columns = 0;
  bool fours = true;
  for (size_t r = 0; r < rows.columns.size(); ++r) {
    work.columns[r] = static_cast<int>(rows.columns[r]);
    width += rows.columns[r];
    most_columns = std::max(most_columns, rows.columns[r]);
    fours = fours && rows.columns[r] % 4 == 0 && rows.columns[r] > 0;
  }
  // The same on every member.
  const int64_t most_held =
      std::max(most_columns, width - *std::min_element(rows.columns.begin(), rows.columns.end()));
  if (!fours || most_held > int64_t{4} * kMostFours * kThreads) return false;
  CHECK(RowFitsABlock(backend.properties(), work.row) &&
            FoursAligned(rows.x.cols(), work.row.x, work.row.codes),
        "QuantizeShare: a row's share in fours");
  work.floor = rows.floor;
  work.squares = rows.squares.data();
  work.keep = static_cast<int>(rows.how.keep);
  work.others = static_cast<int>(width - rows.x.cols());
  work.row_words = most_columns;
  const int64_t tokens = rows.x.rows();
  const auto ranks = static_cast<int64_t>(rows.columns.size());
  std::vector<Range> owned;
  for (int64_t r = 0; r < ranks; ++r) owned.push_back({tokens * r / ranks, tokens * (r + 1) / ranks});
  int64_t slice_rows = 0;
  for (int64_t begin = 0; begin < MostRowsOwned(owned); begin += slice_rows) {
    const SelectionInbox inbox = turn();
    work.inbox = inbox.rows;
    work.answers = inbox.answers_begin;
    slice_rows = std::min(kSelectionRows, work.inbox.section_words / work.row_words);
    work.slice = SlicedRows::Of(owned, begin, slice_rows);
    if (most_held <= 4 * kThreads) {
      LaunchLargest<1>(backend, work);
    } else if (most_held <= 16 * kThreads) {
      LaunchLargest<4>(backend, work);
    } else {
      LaunchLargest<kMostFours>(backend, work);
    }
  }
  return true;
}

}  // namespace ternion::cuda
