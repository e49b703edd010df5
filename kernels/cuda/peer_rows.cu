// SubNormQuantize of rows whose columns are spread over devices: a block a row. It stores its device's columns into every
// peer's inbox, takes the others' from its own, and goes on with the whole row as one device would; of the codes it keeps
// its own. Every device does the row's whole work: it is a latency, not a throughput.
#include "kernels/cuda/peer_rows.h"

#include "kernels/check.h"
#include "kernels/cuda/peer_words.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace ternion::cuda {
namespace {

// Where the columns of a row are.
struct Spread {
  PeerInboxes peers;
  int64_t inbox_begin = 0;    // of every inbox
  int64_t member_words = 0;   // for one member
  int begin[kMostPeers + 1];  // a member's first column; after the last the row's width

  __device__ int OwnerOf(int channel) const {
    int owner = 0;
    while (channel >= begin[owner + 1]) ++owner;
    return owner;
  }
  __device__ int Columns(int member) const { return begin[member + 1] - begin[member]; }
  // Where `owner`'s `channel` of a row lies in any inbox.
  __device__ int64_t Word(int owner, int64_t row, int channel) const {
    return inbox_begin + owner * member_words + row * Columns(owner) + channel - begin[owner];
  }
};

// -0 would be taken for a word that has not arrived; as a square, a magnitude and a code it is the same as +0.
__device__ __forceinline__ uint32_t Word(float x) {
  const uint32_t bits = __float_as_uint(x);
  return bits == kEmptyWord ? 0 : bits;
}

template <int kFours>
__device__ __forceinline__ void PushOwn(const RowWork& work, const Spread& spread, OwnChannels<kFours>& row) {
  const int me = spread.peers.rank;
  const float* const x = work.x + int64_t{blockIdx.x} * spread.Columns(me);
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const int channel = 4 * row.Index(v);
    row.x[v] = {};
    if (channel < spread.begin[me] || channel >= spread.begin[me + 1]) continue;
    row.x[v] = LoadFour<true>(x + channel - spread.begin[me], 4);
    const uint4 words = {Word(row.x[v].v[0]), Word(row.x[v].v[1]), Word(row.x[v].v[2]), Word(row.x[v].v[3])};
    const int64_t word = spread.Word(me, blockIdx.x, channel);
    for (int p = 0; p < spread.peers.ranks; ++p) {
      if (p != me) StorePeer(spread.peers.of[p] + word, words);
    }
  }
}

template <int kFours>
__device__ __forceinline__ void TakeOthers(const RowWork& work, const Spread& spread,
                                           OwnChannels<kFours>& row) {
  const int me = spread.peers.rank;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const int channel = 4 * row.Index(v);
    if (channel >= work.n || (channel >= spread.begin[me] && channel < spread.begin[me + 1])) continue;
    const int64_t word = spread.Word(spread.OwnerOf(channel), blockIdx.x, channel);
    const uint4 words = TakeInbox(spread.peers.of[me] + word, spread.peers.fault);
    row.x[v] = {{__uint_as_float(words.x), __uint_as_float(words.y), __uint_as_float(words.z),
                 __uint_as_float(words.w)}};
  }
}

template <int kFours>
__global__ void __launch_bounds__(kMostThreads) QuantizeSpreadRow(RowWork work, Spread spread) {
  extern __shared__ Four<float> shared[];
  StartNext();
  work.int4 = false;  // known when this is compiled
  FetchWeights<kFours>(work, shared);
  WaitForPrevious();
  OwnChannels<kFours> row;
  PushOwn(work, spread, row);
  TakeOthers(work, spread, row);
  const CodeUnit unit = PrepareRow(work, shared, row);
  const int me = spread.peers.rank;
  int8_t* const codes = work.codes + int64_t{blockIdx.x} * spread.Columns(me);
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const int channel = 4 * row.Index(v);
    if (channel < spread.begin[me] || channel >= spread.begin[me + 1]) continue;
    StoreFour<true>(Codes(row.x[v], unit), codes + channel - spread.begin[me], 4);
  }
  if (threadIdx.x == 0) work.scales[blockIdx.x] = unit.scale;
}

RowWork WorkOf(const RowInput& how, int64_t width) {
  RowWork work;
  work.n = static_cast<int>(width);
  if (!how.weight.empty()) {
    work.weight = how.weight.data();
    work.segment = how.segment;
    work.eps = how.eps;
  }
  work.keep = static_cast<int>(std::min(how.keep, width));
  return work;
}

int64_t Sum(absl::Span<const int64_t> columns) {
  int64_t width = 0;
  for (const int64_t count : columns) width += count;
  return width;
}

}  // namespace

bool PeerRowsFit(const CudaBackend& backend, const RowInput& how, absl::Span<const int64_t> columns) {
  const bool fours =
      std::all_of(columns.begin(), columns.end(), [](int64_t count) { return count % 4 == 0; });
  return fours && RowFitsABlock(backend.properties(), WorkOf(how, Sum(columns)));
}

void PeerSubNormQuantize(CudaBackend& backend, const PeerInboxes& peers, int64_t inbox_begin,
                         int64_t member_words, const RowInput& how, absl::Span<const int64_t> columns,
                         TensorView<const float> mine, QuantizedRows out) {
  const int64_t rows = mine.rows(), width = Sum(columns);
  CHECK(static_cast<int>(columns.size()) == peers.ranks && mine.cols() == columns[peers.rank],
        "columns holds every member's number of columns");
  CHECK(out.codes.rows() == rows && out.codes.cols() == mine.cols() && out.scales.size() == rows,
        "SubNormQuantize shapes");
  CHECK(how.weight.empty() || how.weight.size() == width, "SubNormQuantize: weights of the whole row");
  CHECK(how.keep >= 1 && mine.size() <= member_words, "SubNormQuantize: the inbox holds the rows");
  if (rows == 0) return;
  RowWork work = WorkOf(how, width);
  work.x = mine.data();
  work.codes = out.codes.data();
  work.scales = out.scales.data();
  Spread spread;
  spread.peers = peers;
  spread.inbox_begin = inbox_begin;
  spread.member_words = member_words;
  spread.begin[0] = 0;
  for (int r = 0; r < peers.ranks; ++r) spread.begin[r + 1] = spread.begin[r] + static_cast<int>(columns[r]);
  ForFoursOfRow(backend.multiprocessors(), rows, work, [&](auto fours, const LaunchShape& shape) {
    // Never lowered for a shorter row, since a recorded launch may need it.
    AllowSharedMemory(QuantizeSpreadRow<fours()>, backend.properties().sharedMemPerBlockOptin - kStaticBytes);
    Launch(backend.launch_stream(), QuantizeSpreadRow<fours()>, shape, work, spread);
  });
}

}  // namespace ternion::cuda
