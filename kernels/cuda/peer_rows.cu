// SubNormQuantize of rows whose columns are spread over devices: a cluster of blocks a row (kernels/cuda/row_cluster.cuh), a
// block where segments are short. It stores its device's columns into every peer's inbox, takes the others' from its own,
// and goes on with the whole row as one device would; of the codes it keeps its own. Every device does the row's whole
// work: it is a latency, not a throughput.
#include "kernels/cuda/peer_rows.h"

#include "kernels/check.h"
#include "kernels/cuda/peer_words.cuh"
#include "kernels/cuda/quantize_row.cuh"
#include "kernels/cuda/row_cluster.cuh"

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

__device__ __forceinline__ bool IsOwn(const Spread& spread, int channel) {
  return channel >= spread.begin[spread.peers.rank] && channel < spread.begin[spread.peers.rank + 1];
}

// Four own channels of a row, which go to every peer.
__device__ __forceinline__ Four<float> PushOwn(const Spread& spread, const float* x, int64_t row,
                                               int channel) {
  const int me = spread.peers.rank;
  const Four<float> four = LoadFour<true>(x + row * spread.Columns(me) + channel - spread.begin[me], 4);
  const uint4 words = {Word(four.v[0]), Word(four.v[1]), Word(four.v[2]), Word(four.v[3])};
  const int64_t word = spread.Word(me, row, channel);
  for (int p = 0; p < spread.peers.ranks; ++p) {
    if (p != me) StorePeer(spread.peers.of[p] + word, words);
  }
  return four;
}
__device__ __forceinline__ Four<float> TakeOther(const Spread& spread, int64_t row, int channel) {
  const int64_t word = spread.Word(spread.OwnerOf(channel), row, channel);
  const uint4 words = TakeInbox(spread.peers.of[spread.peers.rank] + word, spread.peers.fault);
  return {{__uint_as_float(words.x), __uint_as_float(words.y), __uint_as_float(words.z),
           __uint_as_float(words.w)}};
}

// A whole row, four channels from channel(v) on for every v; zeros beyond its end.
template <int kFours>
__device__ __forceinline__ void ExchangeRow(const Spread& spread, const float* x, int64_t row, int width,
                                            auto channel, Four<float> (&fours)[kFours]) {
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    fours[v] = {};
    if (IsOwn(spread, channel(v))) fours[v] = PushOwn(spread, x, row, channel(v));
  }
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    if (channel(v) < width && !IsOwn(spread, channel(v))) fours[v] = TakeOther(spread, row, channel(v));
  }
}

__device__ __forceinline__ void StoreOwnCodes(const Spread& spread, int8_t* codes, int64_t row, int channel,
                                              const Four<float>& four, const CodeUnit& unit) {
  if (!IsOwn(spread, channel)) return;
  const int me = spread.peers.rank;
  StoreFour<true>(Codes(four, unit), codes + row * spread.Columns(me) + channel - spread.begin[me], 4);
}

template <int kFours>
__global__ void __launch_bounds__(kMostThreads)
    QuantizeSpreadRow(const __grid_constant__ RowWork all, const __grid_constant__ Spread spread) {
  extern __shared__ Four<float> shared[];
  RowWork work = all;
  work.int4 = false;  // known when this is compiled
  StartNext();
  FetchWeights<kFours>(work, shared);
  WaitForPrevious();
  OwnChannels<kFours> row;
  const auto channel = [](int v) { return 4 * OwnChannels<kFours>::Index(v); };
  ExchangeRow(spread, work.x, blockIdx.x, work.n, channel, row.x);
  const CodeUnit unit = PrepareRow(work, shared, row);
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    StoreOwnCodes(spread, work.codes, blockIdx.x, channel(v), row.x[v], unit);
  }
  if (threadIdx.x == 0) work.scales[blockIdx.x] = unit.scale;
}

// Empty in builds for devices without clusters.
template <bool kSelects>
__global__ void __launch_bounds__(kMostThreads)
    QuantizeSpreadRowByCluster(const __grid_constant__ RowWork all, const __grid_constant__ Spread spread) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  __shared__ RowExchange exchange;
  StartNext();
  RowWork work = all;
  work.int4 = false;  // known when this is compiled
  ClusterSelection* selection = nullptr;
  if constexpr (kSelects) {
    __shared__ ClusterSelection shared;
    selection = &shared;
  }
  BeginRow(exchange, /*int4=*/false, selection);
  const RowPlace place;
  const Four<float> weight = LoadWeights(work, place.channel);
  WaitForPrevious();
  const int64_t row = blockIdx.x / kClusterBlocks;
  Four<float> x[1];
  ExchangeRow(
      spread, work.x, row, work.n, [&](int /*v*/) { return place.channel; }, x);
  WaitForCluster();
  const CodeUnit unit = PrepareClusterRow(work, exchange, selection, place, weight, x[0]);
  StoreOwnCodes(spread, work.codes, row, place.channel, x[0], unit);
  if (place.channel == 0) work.scales[row] = unit.scale;
#endif
}

void LaunchByClusters(const Stream& stream, int64_t rows, const RowWork& work, const Spread& spread) {
  const auto kernel =
      work.keep < work.n ? QuantizeSpreadRowByCluster<true> : QuantizeSpreadRowByCluster<false>;
  Launch(stream, kernel, ClustersOfRows(rows, work.n), work, spread);
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
  if (RowFitsACluster(backend.properties(), work))
    return LaunchByClusters(backend.launch_stream(), rows, work, spread);
  ForFoursOfRow(backend.multiprocessors(), rows, work, [&](auto fours, const LaunchShape& shape) {
    // Never lowered for a shorter row, since a recorded launch may need it.
    AllowSharedMemory(QuantizeSpreadRow<fours()>, backend.properties().sharedMemPerBlockOptin - kStaticBytes);
    Launch(backend.launch_stream(), QuantizeSpreadRow<fours()>, shape, work, spread);
  });
}

}  // namespace ternion::cuda
