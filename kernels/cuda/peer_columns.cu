// Every member's columns of some rows to all: a warp stores a unit of 256 of its device's columns of a row into every peer's
// inbox, and copies from its own the unit that came in before. Bound by the link, for few rows by its latency.
#include "kernels/cuda/peer_columns.h"

#include "kernels/check.h"
#include "kernels/cuda/peer_blocks.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 6;  // of a multiprocessor: all run at once
constexpr int kFours = 2;   // of 4 columns, of a lane
constexpr int kUnitColumns = kWarp * kFours * 4;
constexpr int kUnitWords = kUnitColumns + 4;  // columns, disguise

struct ColumnsWork {
  BlockInbox inbox;
  const float* mine = nullptr;  // the slice's rows
  float* all = nullptr;
  int64_t width = 0;                   // of a row of all
  int64_t begin[kMostPeers + 1] = {};  // the first column of each member's
  int pieces = 0;                      // units of a row of the member with the most columns

  __device__ __forceinline__ int64_t Columns(int member) const { return begin[member + 1] - begin[member]; }
};

// Four columns of a lane in a unit's row: the first of them.
__device__ __forceinline__ int64_t ColumnOf(int piece, int i) {
  return int64_t{piece} * kUnitColumns + (i * kWarp + Lane()) * 4;
}

// To every peer, and to this device's own columns of all.
__device__ __forceinline__ void SendUnit(const ColumnsWork& work, int64_t unit) {
  const PeerInboxes& peers = work.inbox.peers;
  const int me = peers.rank;
  const int64_t row = unit / work.pieces, columns = work.Columns(me);
  const auto piece = static_cast<int>(unit - row * work.pieces);
  if (ColumnOf(piece, 0) - Lane() * 4 >= columns) return;
  uint4 words[kFours];
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    const int64_t column = ColumnOf(piece, i);
    words[i] = uint4{};
    if (column >= columns) continue;
    words[i] = *reinterpret_cast<const uint4*>(work.mine + row * columns + column);
    *reinterpret_cast<uint4*>(work.all + row * work.width + work.begin[me] + column) = words[i];
  }
  const uint32_t disguise = Disguise(words);
  for (int distance = 1; distance < peers.ranks; ++distance) {
    const int to = (me + distance) % peers.ranks;
    uint32_t* const there = Section(work.inbox, me, to) + unit * kUnitWords;
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      StorePeer(there + 4 * (i * kWarp + Lane()), Disguised(words[i], disguise));
    }
    if (Lane() == 0) StoreWord(there + kUnitColumns, DisguiseWord(disguise));
  }
}

__device__ __forceinline__ void TakeUnit(const ColumnsWork& work, int from, int64_t unit) {
  const PeerInboxes& peers = work.inbox.peers;
  const int64_t row = unit / work.pieces, columns = work.Columns(from);
  const auto piece = static_cast<int>(unit - row * work.pieces);
  if (ColumnOf(piece, 0) - Lane() * 4 >= columns) return;
  uint32_t* const here = Section(work.inbox, from, peers.rank) + unit * kUnitWords;
  uint32_t* const disguise = here + kUnitColumns;
  uint4 words[kFours];
  uint32_t disguise_word;
  WaitUntil(
      [&] {
        bool all = (disguise_word = LoadWord(disguise)) != kEmptyWord;
#pragma unroll
        for (int i = 0; i < kFours; ++i) {
          words[i] = LoadInbox(here + 4 * (i * kWarp + Lane()));
          all = all && HalvesHere(words[i]);
        }
        return all;
      },
      peers.fault);
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    StorePeer(here + 4 * (i * kWarp + Lane()), kEmptyWords);
    const int64_t column = ColumnOf(piece, i);
    if (column >= columns) continue;
    *reinterpret_cast<uint4*>(work.all + row * work.width + work.begin[from] + column) =
        Disguised(words[i], DisguiseOf(disguise_word));
  }
  if (Lane() == 0) StoreWord(disguise, kEmptyWord);
}

__global__ void __launch_bounds__(kThreads, kBlocks)
    GatherColumnsKernel(const __grid_constant__ ColumnsWork work, int64_t units) {
  StartNext();
  WaitForPrevious();
  SendThenTake<kThreads>(
      work.inbox.peers, units, [&](int64_t unit) { SendUnit(work, unit); },
      [&](int from, int64_t unit) { TakeUnit(work, from, unit); });
}

}  // namespace

void PeerGatherColumns(const CudaBackend& backend, absl::FunctionRef<BlockInbox()> turn,
                       absl::Span<const int64_t> columns, TensorView<const float> mine,
                       TensorView<float> all) {
  ColumnsWork work;
  work.width = all.cols();
  int64_t most = 0;
  for (size_t r = 0; r < columns.size(); ++r) {
    work.begin[r + 1] = work.begin[r] + columns[r];
    most = std::max(most, columns[r]);
  }
  work.pieces = static_cast<int>(CeilDivide(most, kUnitColumns));
  int64_t slice = 0;
  for (int64_t begin = 0; begin < mine.rows(); begin += slice) {
    work.inbox = turn();
    slice = std::min(work.inbox.section_words / (int64_t{work.pieces} * kUnitWords), mine.rows() - begin);
    CHECK(slice > 0, "a section holds a row");
    work.mine = mine.data() + begin * mine.cols();
    work.all = all.data() + begin * all.cols();
    const int64_t units = slice * work.pieces;
    const auto grid = static_cast<unsigned>(
        std::min<int64_t>(CeilDivide(units, kThreads / kWarp), int64_t{kBlocks} * backend.multiprocessors()));
    Launch(backend.launch_stream(), GatherColumnsKernel, {dim3(grid), dim3(kThreads)}, work, units);
  }
}

}  // namespace ternion::cuda
