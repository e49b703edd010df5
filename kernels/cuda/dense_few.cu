// Plain weights by few tokens: bound by reading the weights. A block has one to four tiles of 16 outputs and up to 16 tokens; warp
// w of its eight multiplies the batches of channels that are w modulo 8, which is a partial sum of its own. Its weights pass
// through a ring of its own in shared memory, and start before the block waits for x; of x a lane loads what it multiplies, a
// batch ahead, and takes it apart itself: a kernel before this one would cost more.
#include "kernels/cuda/dense_batch.cuh"
#include "kernels/cuda/dense_linear.cuh"

namespace ternion::cuda {
namespace {

constexpr int kWarps = kDenseSums;
constexpr int kThreads = kWarps * kWarp;

// Tiles of outputs and of tokens.
template <int kRows, int kCols>
struct FewShape {
  static constexpr int kOutputs = kRows * kDenseTileOutputs;
  static constexpr int kTokens = kCols * kDenseTileTokens;
  static constexpr int kStages = kRows == 1 ? 4 : 3;
  static constexpr int kAtOnce = kRows == 4 ? 1 : kRows * kCols == 1 ? 3 : 2;  // on a multiprocessor
  static constexpr int kStageBytes = kOutputs * kDenseRowBytes;
  static constexpr int kWarpBytes = kStages * kStageBytes;
  static constexpr size_t kBytes = kWarps * kWarpBytes;
  static_assert(kOutputs * kTokens * sizeof(float) <= kWarpBytes);
};

extern __shared__ uint4 few_memory[];

// Where a lane's inputs begin. Columns without a token get the last one's; nothing reads their sums.
template <int kCols>
struct LaneRows {
  const float2* rows[kCols];

  __device__ __forceinline__ LaneRows(const DenseArguments& arguments, int64_t first_token) {
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
      const int64_t token = min(first_token + c * kDenseTileTokens + Lane() / 4, arguments.tokens - 1);
      rows[c] = reinterpret_cast<const float2*>(arguments.x + token * arguments.inputs) + Lane() % 4;
    }
  }
};

// A lane's inputs of a batch.
template <int kCols>
struct LaneInputs {
  float2 x[kCols][kDenseSteps][2];

  __device__ __forceinline__ void Load(const LaneRows<kCols>& from, int batch, int inputs) {
    const int first = batch * kDenseBatch;
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
      const float2* const row = from.rows[c] + first / 2;
#pragma unroll
      for (int step = 0; step < kDenseSteps; ++step) {
        const bool exists = first + step * kDenseStep < inputs;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          x[c][step][half] = exists ? row[step * kDenseStep / 2 + half * 4] : float2{0, 0};
        }
      }
    }
  }

  // The scale of the batch of this lane's token.
  __device__ __forceinline__ BatchScale Scale(int c) const {
    float most = 0;
#pragma unroll
    for (int step = 0; step < kDenseSteps; ++step) {
#pragma unroll
      for (const float2& pair : x[c][step]) most = fmaxf(most, fmaxf(fabsf(pair.x), fabsf(pair.y)));
    }
    most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 1));
    return ScaleOf(fmaxf(most, __shfl_xor_sync(kAllLanes, most, 2)));
  }

  // x times `factor` in a step, in terms, the first ones first.
  template <DenseType kType>
  __device__ __forceinline__ void Split(int c, int step, float factor,
                                        uint2 (&terms)[kDenseTerms<kType>]) const {
    float2 low = x[c][step][0], high = x[c][step][1];
    if constexpr (kType == DenseType::kFloat16) {
      low = {low.x * factor, low.y * factor};
      high = {high.x * factor, high.y * factor};
    }
#pragma unroll
    for (uint2& term : terms) {
      term = {TakeDenseTerms<kType>(low.x, low.y), TakeDenseTerms<kType>(high.x, high.y)};
    }
  }
};

// partial += the batch's sums, times what their tokens' scales stand for.
template <DenseType kType, int kRows>
__device__ __forceinline__ void JoinPartial(const float (&sums)[kRows][4], float inverse,
                                            float (&partial)[kRows][4]) {
  float of_column[2] = {1, 1};
  if constexpr (kType == DenseType::kFloat16) {
    of_column[0] = __shfl_sync(kAllLanes, inverse, Lane() % 4 * 8);
    of_column[1] = __shfl_sync(kAllLanes, inverse, Lane() % 4 * 8 + 4);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      partial[r][i] += kType == DenseType::kFloat16 ? sums[r][i] * of_column[i % 2] : sums[r][i];
    }
  }
}

// partial += a batch of weights . x. When x is split, load_next() may take its registers. The weights are loaded once more for
// the first terms: registers are dearer.
template <DenseType kType, int kRows, int kCols>
__device__ __forceinline__ void AddBatch(uint32_t weights, const LaneInputs<kCols>& inputs, auto load_next,
                                         float (&partial)[kCols][kRows][4]) {
  BatchScale scale[kCols] = {};
  if constexpr (kType == DenseType::kFloat16) {
#pragma unroll
    for (int c = 0; c < kCols; ++c) scale[c] = inputs.Scale(c);
  }
  float sums[kCols][kRows][4] = {};
  uint2 first[kDenseSteps][kCols];
  uint32_t w[kRows][4];
#pragma unroll
  for (int step = 0; step < kDenseSteps; ++step) {
    LoadWeights(weights, step, w);
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
      uint2 terms[kDenseTerms<kType>];
      inputs.template Split<kType>(c, step, scale[c].factor, terms);
      first[step][c] = terms[0];
#pragma unroll
      for (int term = kDenseTerms<kType> - 1; term > 0; --term) MultiplyStep<kType>(w, terms[term], sums[c]);
    }
  }
  load_next();
#pragma unroll
  for (int step = 0; step < kDenseSteps; ++step) {
    LoadWeights(weights, step, w);
#pragma unroll
    for (int c = 0; c < kCols; ++c) MultiplyStep<kType>(w, first[step][c], sums[c]);
  }
#pragma unroll
  for (int c = 0; c < kCols; ++c) JoinPartial<kType>(sums[c], scale[c].inverse, partial[c]);
}

// Adds up the warps' partial sums, which lie [token, output] where the warps' rings began.
template <int kRows, int kCols>
__device__ __forceinline__ void StorePartials(const DenseArguments& arguments, int64_t first_output,
                                              int64_t first_token, const float (&partial)[kCols][kRows][4]) {
  using Shape = FewShape<kRows, kCols>;
  constexpr int kWarpFloats = Shape::kWarpBytes / sizeof(float);
  float* const all = reinterpret_cast<float*>(few_memory);
  __syncwarp();  // the ring is done with
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = c * kDenseTileTokens + Lane() % 4 * 2 + i % 2;
        const int output = r * kDenseTileOutputs + Lane() / 4 + i / 2 * 8;
        all[WarpIndex() * kWarpFloats + token * Shape::kOutputs + output] = partial[c][r][i];
      }
    }
  }
  __syncthreads();
  const int tokens = static_cast<int>(min(int64_t{Shape::kTokens}, arguments.tokens - first_token));
  for (int i = static_cast<int>(threadIdx.x); i < tokens * Shape::kOutputs; i += kThreads) {
    float sum = all[i];
#pragma unroll
    for (int l = 1; l < kDenseSums; ++l) sum += all[l * kWarpFloats + i];
    StoreDense(arguments, first_token + i / Shape::kOutputs, first_output + i % Shape::kOutputs, sum);
  }
}

template <DenseType kType, int kRows, int kCols>
__global__ void __launch_bounds__(kThreads, (FewShape<kRows, kCols>::kAtOnce))
    DenseFew(DenseArguments arguments, int groups) {
  using Shape = FewShape<kRows, kCols>;
  StartNext();
  // Blocks of the same outputs follow each other, so that weights are read from memory once.
  const int64_t first_token = static_cast<int>(blockIdx.x) % groups * Shape::kTokens;
  const int64_t first_output = int64_t{static_cast<int>(blockIdx.x) / groups} * Shape::kOutputs;
  const BatchCopies<kWarp, Shape::kOutputs> copies(arguments.weights, arguments.outputs, arguments.inputs,
                                                   first_output, Lane());
  const uint32_t ring = SharedAddress(few_memory) + WarpIndex() * Shape::kWarpBytes;
  const auto start = [&](int turn) {
    const int batch = turn * kDenseSums + WarpIndex();
    if (batch < arguments.batches) {
      copies.Start(ring + turn % Shape::kStages * Shape::kStageBytes, batch);
    }
    CommitCopies();
  };
#pragma unroll
  for (int turn = 0; turn < Shape::kStages - 1; ++turn) start(turn);
  WaitForPrevious();
  const LaneRows<kCols> rows(arguments, first_token);
  LaneInputs<kCols> inputs;
  inputs.Load(rows, WarpIndex(), arguments.inputs);
  float partial[kCols][kRows][4] = {};
#pragma unroll 1
  for (int turn = 0; turn * kDenseSums + WarpIndex() < arguments.batches; ++turn) {
    AwaitCopies<Shape::kStages - 2>();
    __syncwarp();  // this batch is there, and the one before is done with
    start(turn + Shape::kStages - 1);
    const auto load_next = [&] {
      inputs.Load(rows, (turn + 1) * kDenseSums + WarpIndex(), arguments.inputs);
    };
    AddBatch<kType>(ring + turn % Shape::kStages * Shape::kStageBytes, inputs, load_next, partial);
  }
  StorePartials<kRows, kCols>(arguments, first_output, first_token, partial);
}

template <DenseType kType, int kRows, int kCols>
void LaunchFew(CudaBackend& backend, const DenseArguments& arguments) {
  using Shape = FewShape<kRows, kCols>;
  const int64_t groups = CeilDivide(arguments.tokens, Shape::kTokens);
  const int64_t blocks = groups * CeilDivide(arguments.outputs, Shape::kOutputs);
  AllowSharedMemory(DenseFew<kType, kRows, kCols>, Shape::kBytes);
  Launch(backend.launch_stream(), DenseFew<kType, kRows, kCols>,
         {dim3(static_cast<unsigned>(blocks)), dim3(kThreads), Shape::kBytes}, arguments,
         static_cast<int>(groups));
}

// More outputs in a block share what it loads of x, which for more than a few tokens counts beside the weights; but there is to be a
// block for every multiprocessor, or nearly.
template <DenseType kType>
void LaunchFew(CudaBackend& backend, const DenseArguments& arguments) {
  constexpr int64_t kLittle = 4;
  const int64_t groups = CeilDivide(arguments.tokens, 2 * kDenseTileTokens);
  const auto fills = [&](int rows) {
    return groups * CeilDivide(arguments.outputs, rows * kDenseTileOutputs) * 10 >=
           9 * backend.multiprocessors();
  };
  if (arguments.tokens <= kDenseTileTokens) {
    if (arguments.tokens > kLittle && fills(2)) return LaunchFew<kType, 2, 1>(backend, arguments);
    return LaunchFew<kType, 1, 1>(backend, arguments);
  }
  if (fills(4) && FewShape<4, 2>::kBytes <= backend.properties().sharedMemPerBlockOptin) {
    return LaunchFew<kType, 4, 2>(backend, arguments);
  }
  if (fills(2)) return LaunchFew<kType, 2, 2>(backend, arguments);
  LaunchFew<kType, 1, 2>(backend, arguments);
}

}  // namespace

void RunDenseFew(CudaBackend& backend, DenseType type, const DenseArguments& arguments) {
  if (type == DenseType::kBFloat16) return LaunchFew<DenseType::kBFloat16>(backend, arguments);
  LaunchFew<DenseType::kFloat16>(backend, arguments);
}

}  // namespace ternion::cuda
