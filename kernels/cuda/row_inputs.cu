// NormQuantize and SubNormQuantize. Few rows are a latency: a cluster of blocks each (kernels/cuda/row_cluster.cuh), bound by
// what its blocks wait for. Of many, bound by reading them once, each is a block's (kernels/cuda/quantize_row.cuh).
//
// Rows that do not fit are taken through the plain operations, which give the same bits.
#include <numeric>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/quantize_row.cuh"
#include "kernels/cuda/row_cluster.cuh"

namespace ternion::cuda {
namespace {

constexpr int64_t kNormSegment = 32;

// Compiled for either kind of code, since the registers for both would not do. INT4 rows keep all their
// channels.
template <int kFours, bool kInt4>
__global__ void __launch_bounds__(kMostThreads) QuantizeRow(RowWork work) {
  extern __shared__ Four<float> shared[];
  work.int4 = kInt4;
  if constexpr (kInt4) work.keep = work.n;
  StartNext();
  FetchWeights<kFours>(work, shared);
  WaitForPrevious();
  OwnChannels<kFours> row;
  const float* const x = work.x + int64_t{blockIdx.x} * work.n;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const int i = row.Index(v);
    row.x[v] = i < work.n / 4 ? LoadFour<true>(x + 4 * i, 4) : Four<float>{};
  }
  const CodeUnit unit = PrepareRow(work, shared, row);
  int8_t* const codes = work.codes + int64_t{blockIdx.x} * work.n;
#pragma unroll
  for (int v = 0; v < kFours; ++v) {
    const int i = row.Index(v);
    if (i < work.n / 4) StoreFour<true>(Codes(row.x[v], unit), codes + 4 * i, 4);
  }
  if (threadIdx.x == 0) work.scales[blockIdx.x] = unit.scale;
}

// Empty in builds for devices without clusters.
template <bool kInt4, bool kSelects>
__global__ void __launch_bounds__(kMostThreads) QuantizeRowByCluster(const __grid_constant__ RowWork all) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  __shared__ RowExchange exchange;
  StartNext();
  RowWork work = all;
  work.int4 = kInt4;  // known when this is compiled
  ClusterSelection* selection = nullptr;
  if constexpr (kSelects) {
    __shared__ ClusterSelection shared;
    selection = &shared;
  }
  BeginRow(exchange, kInt4, selection);
  const RowPlace place;
  const Four<float> weight = LoadWeights(work, place.channel);
  WaitForPrevious();
  const int64_t row = blockIdx.x / kClusterBlocks, at = row * work.n + place.channel;
  Four<float> x = place.channel < work.n ? LoadFour<true>(work.x + at, 4) : Four<float>{};
  WaitForCluster();
  const CodeUnit unit = PrepareClusterRow(work, exchange, selection, place, weight, x);
  if (place.channel < work.n) StoreFour<true>(Codes(x, unit), work.codes + at, 4);
  if (place.channel == 0) work.scales[row] = unit.scale;
#endif
}

// More rows than multiprocessors fill the device a block each.
bool FitsClusters(const cudaDeviceProp& properties, int64_t rows, const RowWork& work) {
  return rows <= properties.multiProcessorCount && RowFitsACluster(properties, work) &&
         FoursAligned(work.n, work.x, work.codes);
}

void QuantizeByClusters(const Stream& stream, int64_t rows, const RowWork& work) {
  const auto kernel = work.int4            ? QuantizeRowByCluster<true, false>
                      : work.keep < work.n ? QuantizeRowByCluster<false, true>
                                           : QuantizeRowByCluster<false, false>;
  Launch(stream, kernel, ClustersOfRows(rows, work.n), work);
}

bool FitsABlock(const cudaDeviceProp& properties, const RowWork& work) {
  return RowFitsABlock(properties, work) && FoursAligned(work.n, work.x, work.codes);
}

void QuantizeRows(const Stream& stream, const cudaDeviceProp& properties, int64_t rows, const RowWork& work) {
  ForFoursOfRow(properties.multiProcessorCount, rows, work, [&](auto fours, const LaunchShape& shape) {
    const auto kernel = work.int4 ? QuantizeRow<fours(), true> : QuantizeRow<fours(), false>;
    // Never lowered for a shorter row, since a recorded launch may need it.
    AllowSharedMemory(kernel, properties.sharedMemPerBlockOptin - kStaticBytes);
    Launch(stream, kernel, shape, work);
  });
}

// Temporaries of the plain operations.
struct PlainParts {
  PlainParts(float* memory, int64_t rows, int64_t cols, int64_t segments)
      : statistic(memory, 1, rows),
        sums(memory + rows, rows, segments),
        normed(memory + rows * (1 + segments), rows, cols) {}
  static int64_t Size(int64_t rows, int64_t cols, int64_t segments) { return rows * (1 + segments + cols); }

  TensorView<float> statistic;
  TensorView<float> sums;
  TensorView<float> normed;
};

}  // namespace

void CudaBackend::NormQuantize(TensorView<const float> x, float eps, TensorView<const float> weight,
                               bool int4, QuantizedRows out) {
  CHECK(out.codes.rows() == x.rows() && out.codes.cols() == x.cols(), "NormQuantize shapes");
  CHECK(out.scales.size() == x.rows() && weight.size() == x.cols(), "NormQuantize shapes");
  CHECK(!int4 || x.cols() % kMeanSegment == 0, "NormQuantize: INT4 takes whole segments");
  if (x.empty()) return;
  RowWork work;
  work.x = x.data();
  work.weight = weight.data();
  work.eps = eps;
  work.n = static_cast<int>(x.cols());
  work.segment = static_cast<int>(std::gcd(kNormSegment, x.cols()));
  work.keep = work.n;
  work.int4 = int4;
  work.codes = out.codes.data();
  work.scales = out.scales.data();
  if (FitsClusters(properties_, x.rows(), work)) return QuantizeByClusters(stream_, x.rows(), work);
  if (FitsABlock(properties_, work)) return QuantizeRows(stream_, properties_, x.rows(), work);

  const int64_t segments = x.cols() / work.segment;
  float* const memory = Scratch<float>(Purpose::kPartials, PlainParts::Size(x.rows(), x.cols(), segments));
  const PlainParts parts(memory, x.rows(), x.cols(), segments);
  SumSquares(x, work.segment, parts.sums);
  RmsNorm(x, parts.sums, x.cols(), eps, weight, parts.normed);
  if (int4) return QuantizeInt4(parts.normed, out);
  RowAbsMax(parts.normed, parts.statistic);
  QuantizeInt8(parts.normed, parts.statistic, kInt8Floor, out);
}

void CudaBackend::SubNormQuantize(const RowInput& how, TensorView<float> x, QuantizedRows out) {
  CHECK(out.codes.rows() == x.rows() && out.codes.cols() == x.cols(), "SubNormQuantize shapes");
  CHECK(out.scales.size() == x.rows() && how.keep >= 1, "SubNormQuantize shapes");
  const bool normalizes = !how.weight.empty();
  CHECK(!normalizes || how.weight.size() == x.cols(), "SubNormQuantize shapes");
  CHECK(!normalizes || (how.segment > 0 && how.segment <= 32 && (how.segment & (how.segment - 1)) == 0),
        "a segment is a power of two up to 32");
  CHECK(!normalizes || x.cols() % how.segment == 0, "SubNormQuantize: whole segments");
  if (x.empty()) return;
  RowWork work;
  work.x = x.data();
  work.n = static_cast<int>(x.cols());
  if (normalizes) {
    work.weight = how.weight.data();
    work.segment = how.segment;
    work.eps = how.eps;
  }
  work.keep = static_cast<int>(std::min(how.keep, x.cols()));
  work.codes = out.codes.data();
  work.scales = out.scales.data();
  if (FitsClusters(properties_, x.rows(), work)) return QuantizeByClusters(stream_, x.rows(), work);
  if (FitsABlock(properties_, work)) return QuantizeRows(stream_, properties_, x.rows(), work);

  const int64_t segments = normalizes ? x.cols() / how.segment : 0;
  float* const memory = Scratch<float>(Purpose::kPartials, PlainParts::Size(x.rows(), 0, segments));
  const PlainParts parts(memory, x.rows(), 0, segments);
  if (normalizes) {
    SumSquares(x, how.segment, parts.sums);
    RmsNorm(x, parts.sums, x.cols(), how.eps, how.weight, x);
  }
  if (how.keep < x.cols()) {
    KthMagnitude(x, how.keep, parts.statistic);
    ZeroBelow(parts.statistic, x);
  }
  RowAbsMax(x, parts.statistic);
  QuantizeInt8(x, parts.statistic, kInt8Floor, out);
}

}  // namespace ternion::cuda
