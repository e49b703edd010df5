// Plain weights by many tokens: bound by arithmetic, two or three multiplications where 16-bit inputs would take one. One kernel
// takes x apart into terms; then a block has 256 outputs by 64 tokens, whose weights and terms are about as many bytes, or 64 by
// 64 where those would leave multiprocessors idle. Batches of weights and terms pass through shared memory. A warp goes through
// the batches of one partial sum after those of the other: it keeps the batch's sums and the partial ones in registers, and what
// it has added up of these in shared memory.
#include "kernels/cuda/dense_batch.cuh"
#include "kernels/cuda/dense_linear.cuh"

namespace ternion::cuda {
namespace {

constexpr int kCols = 4;  // a warp's tiles of tokens

// Warps of kRows x kCols tiles: kTall of them have the same tokens.
template <DenseType kType, int kTall, int kRows>
struct ManyShape {
  static constexpr int kWide = 2;  // warps of the same outputs
  static constexpr int kRowTiles = kRows;
  static constexpr int kThreads = kTall * kWide * kWarp;
  static constexpr int kAtOnce = 256 / kThreads;  // on a multiprocessor
  static constexpr int kWarpOutputs = kRows * kDenseTileOutputs;
  static constexpr int kWarpTokens = kCols * kDenseTileTokens;
  static constexpr int kOutputs = kTall * kWarpOutputs;
  static constexpr int kTokens = kWide * kWarpTokens;
  // A stage: weights, the terms one after the other, the scales by which sums are multiplied.
  static constexpr int kTermBytes = kTokens * kDenseRowBytes;
  static constexpr int kTermsOffset = kOutputs * kDenseRowBytes;
  static constexpr int kScalesOffset = kTermsOffset + kDenseTerms<kType> * kTermBytes;
  static constexpr int kScalesBytes =
      kType == DenseType::kFloat16 ? kTokens * static_cast<int>(sizeof(float)) : 0;
  static constexpr int kStageBytes = kScalesOffset + kScalesBytes;
  static constexpr int kStages = 2;
  static constexpr int kTotalsOffset = kStages * kStageBytes;
  static constexpr int kTotals = kRows * kCols * 4;  // of a thread
  static constexpr int kBytes = kTotalsOffset + kTotals * kThreads * static_cast<int>(sizeof(float));
};
template <DenseType kType>
using LargeShape = ManyShape<kType, 4, 4>;
template <DenseType kType>
using SmallShape = ManyShape<kType, 2, 2>;
static_assert(SmallShape<DenseType::kBFloat16>::kOutputs == kManyDenseSide &&
              SmallShape<DenseType::kBFloat16>::kTokens == kManyDenseSide);
constexpr int kBlockTokens = LargeShape<DenseType::kBFloat16>::kTokens;

// x taken apart: zeros in channels and tokens that do not exist.
struct DenseTermsOfRows {
  uint16_t* terms;  // [terms, tokens, channels]
  float* scales;    // [batches, tokens]; float16
  int64_t tokens;   // a multiple of kBlockTokens
  int channels;     // whole batches
};

// Eight lanes take a batch of a token apart.
constexpr int kSplitThreads = 256;
template <DenseType kType>
__global__ void __launch_bounds__(kSplitThreads) SplitRows(DenseArguments arguments, DenseTermsOfRows to) {
  StartNext();
  const int64_t index = (int64_t{blockIdx.x} * kSplitThreads + threadIdx.x) / kDenseRowUnits;
  const int64_t token = index / arguments.batches;
  const int batch = static_cast<int>(index % arguments.batches);
  const int channel = batch * kDenseBatch + Lane() % kDenseRowUnits * kUnitHalves;
  WaitForPrevious();
  float4 low = {0, 0, 0, 0}, high = {0, 0, 0, 0};
  if (token < arguments.tokens && channel < arguments.inputs) {
    const auto* const from =
        reinterpret_cast<const float4*>(arguments.x + token * arguments.inputs + channel);
    low = from[0];
    high = from[1];
  }
  if constexpr (kType == DenseType::kFloat16) {
    const auto most_of = [](const float4& x) {
      return fmaxf(fmaxf(fabsf(x.x), fabsf(x.y)), fmaxf(fabsf(x.z), fabsf(x.w)));
    };
    float most = fmaxf(most_of(low), most_of(high));
#pragma unroll
    for (int half = kDenseRowUnits / 2; half > 0; half /= 2) {
      most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, half));
    }
    const BatchScale scale = ScaleOf(most);
    low = {low.x * scale.factor, low.y * scale.factor, low.z * scale.factor, low.w * scale.factor};
    high = {high.x * scale.factor, high.y * scale.factor, high.z * scale.factor, high.w * scale.factor};
    if (token < to.tokens && Lane() % kDenseRowUnits == 0) {
      to.scales[batch * to.tokens + token] = scale.inverse;
    }
  }
  if (token >= to.tokens) return;
#pragma unroll
  for (int term = 0; term < kDenseTerms<kType>; ++term) {
    const uint4 unit = {TakeDenseTerms<kType>(low.x, low.y), TakeDenseTerms<kType>(low.z, low.w),
                        TakeDenseTerms<kType>(high.x, high.y), TakeDenseTerms<kType>(high.z, high.w)};
    *reinterpret_cast<uint4*>(to.terms + (term * to.tokens + token) * to.channels + channel) = unit;
  }
}

// The batches in the order in which a warp adds them: by partial sums.
struct BatchOrder {
  int batches;
  int batch = 0;
  int sum = 0;

  __device__ __forceinline__ bool EndsSum() const { return batch + kDenseSums >= batches; }
  __device__ __forceinline__ bool Done() const { return sum == kDenseSums || batch >= batches; }
  __device__ __forceinline__ void Advance() {
    if (EndsSum()) ++sum;
    batch = EndsSum() ? sum : batch + kDenseSums;
  }
};

extern __shared__ uint4 many_memory[];

// What a block copies for itself.
template <DenseType kType, typename Shape>
class StageCopies {
 public:
  __device__ __forceinline__ StageCopies(const DenseArguments& arguments, const DenseTermsOfRows& x,
                                         int64_t first_output, int64_t first_token)
      : weights_(arguments.weights, arguments.outputs, arguments.inputs, first_output,
                 static_cast<int>(threadIdx.x)),
        terms_(x.terms, x.tokens, x.channels, first_token, static_cast<int>(threadIdx.x)),
        term_halves_(x.tokens * x.channels),
        scales_(x.scales + first_token),
        scales_row_(x.tokens) {}

  __device__ __forceinline__ void StartWeights(uint32_t stage, int batch) const {
    weights_.Start(stage, batch);
  }
  __device__ __forceinline__ void StartTerms(uint32_t stage, int batch) const {
#pragma unroll
    for (int term = 0; term < kDenseTerms<kType>; ++term) {
      terms_.Start(stage + Shape::kTermsOffset + term * Shape::kTermBytes, batch, term * term_halves_);
    }
    const int unit = static_cast<int>(threadIdx.x);
    if (unit < Shape::kScalesBytes / kUnitBytes) {
      CopyUnit(stage + Shape::kScalesOffset + unit * kUnitBytes,
               scales_ + batch * scales_row_ + unit * (kUnitBytes / sizeof(float)));
    }
  }

 private:
  const BatchCopies<Shape::kThreads, Shape::kOutputs> weights_;
  const BatchCopies<Shape::kThreads, Shape::kTokens> terms_;
  const int64_t term_halves_;
  const float* const scales_;
  const int64_t scales_row_;
};

// A term of a warp's tokens in a step: the right operands of two tiles at a time.
__device__ __forceinline__ void LoadTerms(uint32_t rows, int step, uint2 (&x)[kCols]) {
  const int lane = Lane(), row = lane / 16 * kDenseTileTokens + lane % 8, unit = 2 * step + lane / 8 % 2;
#pragma unroll
  for (int c = 0; c < kCols; c += 2) {
    uint32_t to[4];
    LoadMatrices(rows + c * kDenseTileTokens * kDenseRowBytes + UnitOffset<kDenseRowBytes>(row, unit), to);
    x[c] = {to[0], to[1]};
    x[c + 1] = {to[2], to[3]};
  }
}

template <DenseType kType, int kRows>
__device__ __forceinline__ void MultiplyTerm(uint32_t terms, int step, const uint32_t (&w)[kRows][4],
                                             float (&sums)[kCols][kRows][4]) {
  uint2 x[kCols];
  LoadTerms(terms, step, x);
#pragma unroll
  for (int c = 0; c < kCols; ++c) MultiplyStep<kType>(w, x[c], sums[c]);
}

// partial += a batch of weights . x; `weights` and `terms` are the warp's rows, `scales` those of its tokens. When the first
// multiplications are on their way, start_next() starts copies.
template <DenseType kType, int kRows>
__device__ __forceinline__ void AddBatch(uint32_t weights, uint32_t terms, int term_bytes,
                                         const float* scales, auto start_next,
                                         float (&partial)[kCols][kRows][4]) {
  float sums[kCols][kRows][4] = {};
  uint32_t w[kRows][4];
#pragma unroll
  for (int step = 0; step < kDenseSteps; ++step) {
    LoadWeights(weights, step, w);
#pragma unroll
    for (int term = kDenseTerms<kType> - 1; term > 0; --term) {
      MultiplyTerm<kType>(terms + term * term_bytes, step, w, sums);
    }
    if (step == 0) start_next();
  }
#pragma unroll
  for (int step = 0; step < kDenseSteps; ++step) {
    LoadWeights(weights, step, w);
    MultiplyTerm<kType>(terms, step, w, sums);
  }
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
    float2 scale = {1, 1};
    if constexpr (kType == DenseType::kFloat16) {
      scale = reinterpret_cast<const float2*>(scales + c * kDenseTileTokens)[Lane() % 4];
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float sum = sums[c][r][i];
        partial[c][r][i] += kType == DenseType::kFloat16 ? sum * (i % 2 == 0 ? scale.x : scale.y) : sum;
      }
    }
  }
}

// A thread's totals += partial, which begins anew; the first partial sum is the total.
template <int kThreads, int kRows>
__device__ __forceinline__ void JoinTotals(float* totals, bool first, float (&partial)[kCols][kRows][4]) {
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& total = totals[((c * kRows + r) * 4 + i) * kThreads];
        total = first ? partial[c][r][i] : total + partial[c][r][i];
        partial[c][r][i] = 0;
      }
    }
  }
}

template <int kThreads, int kRows>
__device__ __forceinline__ void StoreTotals(const DenseArguments& arguments, const float* totals,
                                            int64_t first_output, int64_t first_token) {
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        StoreDense(arguments, first_token + c * kDenseTileTokens + Lane() % 4 * 2 + i % 2,
                   first_output + r * kDenseTileOutputs + Lane() / 4 + i / 2 * 8,
                   totals[((c * kRows + r) * 4 + i) * kThreads]);
      }
    }
  }
}

template <DenseType kType, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kAtOnce)
    DenseMany(DenseArguments arguments, DenseTermsOfRows x, int groups) {
  constexpr int kRows = Shape::kRowTiles;
  StartNext();
  // Blocks of the same outputs follow each other, so that weights are read from memory once.
  const int64_t first_token = static_cast<int>(blockIdx.x) % groups * Shape::kTokens;
  const int64_t first_output = int64_t{static_cast<int>(blockIdx.x) / groups} * Shape::kOutputs;
  const int warp_token = WarpIndex() % Shape::kWide * Shape::kWarpTokens;
  const int warp_output = WarpIndex() / Shape::kWide * Shape::kWarpOutputs;
  uint8_t* const memory = reinterpret_cast<uint8_t*>(many_memory);
  float* const totals = reinterpret_cast<float*>(memory + Shape::kTotalsOffset) + threadIdx.x;
  const StageCopies<kType, Shape> copies(arguments, x, first_output, first_token);
  BatchOrder loaded{arguments.batches}, done{arguments.batches};
  copies.StartWeights(SharedAddress(memory), 0);
  WaitForPrevious();
  copies.StartTerms(SharedAddress(memory), 0);
  CommitCopies();
  float partial[kCols][kRows][4] = {};
#pragma unroll 1
  for (int turn = 0; !done.Done(); ++turn) {
    AwaitCopies<0>();
    __syncthreads();  // this batch is there, and the one before is done with
    const auto start_next = [&] {
      loaded.Advance();
      if (loaded.Done()) return;
      const uint32_t next = SharedAddress(memory) + (turn + 1) % 2 * Shape::kStageBytes;
      copies.StartWeights(next, loaded.batch);
      copies.StartTerms(next, loaded.batch);
      CommitCopies();
    };
    uint8_t* const stage = memory + turn % 2 * Shape::kStageBytes;
    const uint32_t at = SharedAddress(stage);
    AddBatch<kType>(at + warp_output * kDenseRowBytes, at + Shape::kTermsOffset + warp_token * kDenseRowBytes,
                    Shape::kTermBytes,
                    reinterpret_cast<const float*>(stage + Shape::kScalesOffset) + warp_token, start_next,
                    partial);
    if (done.EndsSum()) JoinTotals<Shape::kThreads>(totals, done.sum == 0, partial);
    done.Advance();
  }
  StoreTotals<Shape::kThreads, kRows>(arguments, totals, first_output + warp_output,
                                      first_token + warp_token);
}

template <DenseType kType, typename Shape>
void LaunchMany(CudaBackend& backend, const DenseArguments& arguments, const DenseTermsOfRows& x) {
  constexpr auto kKernel = DenseMany<kType, Shape>;
  const int64_t groups = CeilDivide(arguments.tokens, Shape::kTokens);
  const int64_t blocks = groups * CeilDivide(arguments.outputs, Shape::kOutputs);
  AllowSharedMemory(kKernel, Shape::kBytes);
  Launch(backend.launch_stream(), kKernel,
         {dim3(static_cast<unsigned>(blocks)), dim3(Shape::kThreads), Shape::kBytes}, arguments, x,
         static_cast<int>(groups));
}

template <DenseType kType>
DenseTermsOfRows Split(CudaBackend& backend, const DenseArguments& arguments) {
  DenseTermsOfRows x = {};
  x.tokens = CeilDivide(arguments.tokens, kBlockTokens) * kBlockTokens;
  x.channels = arguments.batches * kDenseBatch;
  x.terms = backend.Scratch<uint16_t>(Purpose::kPartials, kDenseTerms<kType> * x.tokens * x.channels);
  x.scales = backend.Scratch<float>(Purpose::kSums, x.tokens * arguments.batches);
  const int64_t threads = x.tokens * arguments.batches * kDenseRowUnits;
  Launch(backend.launch_stream(), SplitRows<kType>,
         {dim3(static_cast<unsigned>(CeilDivide(threads, kSplitThreads))), dim3(kSplitThreads)}, arguments,
         x);
  return x;
}

template <DenseType kType>
void RunMany(CudaBackend& backend, const DenseArguments& arguments) {
  const DenseTermsOfRows x = Split<kType>(backend, arguments);
  using Large = LargeShape<kType>;
  const int64_t blocks =
      CeilDivide(arguments.tokens, Large::kTokens) * CeilDivide(arguments.outputs, Large::kOutputs);
  if (blocks * 10 >= 9 * backend.multiprocessors() &&
      size_t{Large::kBytes} <= backend.properties().sharedMemPerBlockOptin) {
    return LaunchMany<kType, Large>(backend, arguments, x);
  }
  LaunchMany<kType, SmallShape<kType>>(backend, arguments, x);
}

}  // namespace

void RunDenseMany(CudaBackend& backend, DenseType type, const DenseArguments& arguments) {
  if (type == DenseType::kBFloat16) return RunMany<DenseType::kBFloat16>(backend, arguments);
  RunMany<DenseType::kFloat16>(backend, arguments);
}

}  // namespace ternion::cuda
