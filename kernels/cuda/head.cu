// The head: bound by reading the table (vocab * h * 2 bytes) for few rows. A warp multiplies 16 words with tiles
// of 8 rows on tensor cores. Of x it takes three bfloat16 terms, whose sum is x to 24 bits: a kernel splits x
// into them in the order of the operands, and spans of them pass through shared memory. Of the table each
// lane loads its own operands, 16 bytes at a time, a batch ahead: the sum over channels is taken in an order
// in which a lane's eight neighbouring channels are its share of two multiplications.
//
// Numerics: per batch of 128 channels, the products of the first terms and those of the other two are added
// up apart; then first terms + others joins the logit. This does not depend on which rows and words stand together.
#include <algorithm>

#include "kernels/cuda/attention_mma.cuh"
#include "kernels/cuda/bfloat16_terms.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/read_once.cuh"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

constexpr int kWarpWords = 16;
constexpr int kTileRows = 8;  // of x, in one multiplication
constexpr int kTerms = 3;
constexpr int kStep = 32;  // channels of two multiplications: 8 a lane
constexpr int kBatchSteps = 4;
constexpr int kBatch = kBatchSteps * kStep;
constexpr int kSpanBatches = 2;  // of x in shared memory at a time
constexpr int kSpanSteps = kSpanBatches * kBatchSteps;
constexpr int kSpan = kSpanBatches * kBatch;
constexpr int kStages = 3;  // spans in shared memory

// 16 bytes a lane: a tile's operands of one step and term.
using Operands = uint4[kWarp];
using SpanOperands = Operands[kSpanSteps][kTerms];

struct HeadArguments {
  const float* x;       // [rows, h]
  SpanOperands* terms;  // [tiles, spans] of x
  const uint16_t* table;
  float* logits;
  int64_t rows;
  int64_t vocab;
  int h;
  int spans;
};

// A thread block of kTiles tiles: more words share what it loads of x.
template <int kTiles>
struct HeadShape {
  static constexpr int kThreads = kTiles == 1 ? 256 : 512;
  static constexpr int kAtOnce = kTiles == 1 ? 2 : 1;  // on a multiprocessor
  static constexpr int kWords = kThreads / kWarp * kWarpWords;
  static constexpr int kBytes = kStages * kTiles * static_cast<int>(sizeof(SpanOperands));
};

extern __shared__ uint4 head_memory[];

// A warp splits a tile's step; zeros in rows and channels that do not exist.
constexpr int kSplitThreads = 256;
__global__ void __launch_bounds__(kSplitThreads) SplitTerms(HeadArguments arguments, int64_t steps) {
  StartNext();
  const int64_t warp = (int64_t{blockIdx.x} * kSplitThreads + threadIdx.x) / kWarp;
  if (warp >= steps) return;
  const int tile_steps = arguments.spans * kSpanSteps;
  const int64_t tile = warp / tile_steps, row = tile * kTileRows + Lane() / 4;
  const int step = static_cast<int>(warp % tile_steps), channel = step * kStep + Lane() % 4 * 8;
  WaitForPrevious();
  float4 low = {0, 0, 0, 0}, high = {0, 0, 0, 0};
  if (row < arguments.rows && channel < arguments.h) {
    const float4* const from = reinterpret_cast<const float4*>(arguments.x + row * arguments.h + channel);
    low = from[0];
    high = from[1];
  }
  SpanOperands& span = arguments.terms[tile * arguments.spans + step / kSpanSteps];
#pragma unroll
  for (int term = 0; term < kTerms; ++term) {
    span[step % kSpanSteps][term][Lane()] = {TakeTerms(low.x, low.y), TakeTerms(low.z, low.w),
                                             TakeTerms(high.x, high.y), TakeTerms(high.z, high.w)};
  }
}

// Starts the copy of a span of the block's tiles, if there is such a span.
template <int kTiles>
__device__ __forceinline__ void LoadSpan(const HeadArguments& arguments, int64_t first_tile, int span) {
  constexpr int kUnits = sizeof(SpanOperands) / kUnitBytes, kThreads = HeadShape<kTiles>::kThreads;
  if (span < arguments.spans) {
    const uint32_t stage = SharedAddress(head_memory) + span % kStages * kTiles * kUnits * kUnitBytes;
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < kTiles * kUnits; i += kThreads) {
      const SpanOperands* const from = arguments.terms + (first_tile + i / kUnits) * arguments.spans + span;
      CopyUnit(stage + i * kUnitBytes, reinterpret_cast<const uint4*>(from) + i % kUnits);
    }
  }
  CommitCopies();
}

// A lane's share of 16 words by kBatch channels: of words lane / 4 and lane / 4 + 8.
struct TableBatch {
  uint4 words[2][kBatchSteps];

  // `lane_words` point to the lane's first channel; `begin` is the batch's first channel.
  __device__ __forceinline__ void LoadStep(const uint16_t* const (&lane_words)[2], int begin, int step,
                                           int h) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint4& to = words[half][step];
      to = {0, 0, 0, 0};
      if (begin + step * kStep + Lane() % 4 * 8 < h) {
        to = ReadOnce(lane_words[half] + begin + step * kStep);
      }
    }
  }
};

__device__ __forceinline__ void MultiplyWords(float (&sum)[4], const uint4& low, const uint4& high,
                                              const uint4& x) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "r"(x.x), "r"(x.y));
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(low.z), "r"(high.z), "r"(low.w), "r"(high.w), "r"(x.z), "r"(x.w));
}

// sums += batch . x for the batch whose first step in `stage` (of all tiles) is first_step. The next batch is
// loaded step by step.
template <int kTiles>
__device__ __forceinline__ void AddBatch(const uint16_t* const (&lane_words)[2], int next_begin, int h,
                                         const SpanOperands* stage, int first_step, TableBatch& batch,
                                         float (&sums)[kTiles][4]) {
  float first[kTiles][4] = {}, others[kTiles][4] = {};
#pragma unroll
  for (int step = 0; step < kBatchSteps; ++step) {
    const uint4 low = batch.words[0][step], high = batch.words[1][step];
#pragma unroll
    for (int term = 0; term < kTerms; ++term) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const uint4 x = stage[tile][first_step + step][term][Lane()];
        MultiplyWords(term == 0 ? first[tile] : others[tile], low, high, x);
      }
    }
    batch.LoadStep(lane_words, next_begin, step, h);
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[tile][i] += first[tile][i] + others[tile][i];
  }
}

template <int kTiles>
__device__ __forceinline__ void StoreLogits(const HeadArguments& arguments, int64_t first_row, int64_t word,
                                            const float (&sums)[kTiles][4]) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t row = first_row + tile * kTileRows + Lane() % 4 * 2 + i % 2, v = word + i / 2 * 8;
      if (row < arguments.rows && v < arguments.vocab) {
        arguments.logits[row * arguments.vocab + v] = sums[tile][i];
      }
    }
  }
}

template <int kTiles>
__global__ void __launch_bounds__(HeadShape<kTiles>::kThreads, HeadShape<kTiles>::kAtOnce)
    Logits(HeadArguments arguments) {
  StartNext();
  // Blocks of the same words follow each other, so that the table is read from memory once.
  const int64_t groups = CeilDivide(arguments.rows, kTiles * kTileRows);
  const int64_t first_tile = blockIdx.x % groups * kTiles;
  const int64_t word =
      blockIdx.x / groups * HeadShape<kTiles>::kWords + WarpIndex() * kWarpWords + Lane() / 4;
  const uint16_t* lane_words[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    lane_words[half] =
        arguments.table + min(word + half * 8, arguments.vocab - 1) * arguments.h + Lane() % 4 * 8;
  }
  TableBatch batch;
#pragma unroll
  for (int step = 0; step < kBatchSteps; ++step) batch.LoadStep(lane_words, 0, step, arguments.h);
  WaitForPrevious();
#pragma unroll
  for (int span = 0; span < kStages - 1; ++span) LoadSpan<kTiles>(arguments, first_tile, span);

  float sums[kTiles][4] = {};
  for (int span = 0; span < arguments.spans; ++span) {
    AwaitCopies<kStages - 2>();
    __syncthreads();  // this span is there, and the one before is done with
    LoadSpan<kTiles>(arguments, first_tile, span + kStages - 1);
    const auto* const stage = reinterpret_cast<const SpanOperands*>(head_memory) + span % kStages * kTiles;
#pragma unroll 1
    for (int i = 0; i < kSpanBatches; ++i) {
      const int begin = span * kSpan + i * kBatch;
      if (begin >= arguments.h) break;
      AddBatch<kTiles>(lane_words, begin + kBatch, arguments.h, stage, i * kBatchSteps, batch, sums);
    }
  }
  StoreLogits<kTiles>(arguments, first_tile * kTileRows, word, sums);
}

template <int kTiles>
void LaunchLogits(CudaBackend& backend, HeadArguments arguments) {
  using Shape = HeadShape<kTiles>;
  const int64_t groups = CeilDivide(arguments.rows, kTiles * kTileRows);
  arguments.terms = backend.Scratch<SpanOperands>(Purpose::kPartials, groups * kTiles * arguments.spans);
  const int64_t steps = groups * kTiles * arguments.spans * kSpanSteps;  // a warp each
  Launch(backend.launch_stream(), SplitTerms,
         {dim3(static_cast<unsigned>(CeilDivide(steps * kWarp, kSplitThreads))), dim3(kSplitThreads)},
         arguments, steps);
  AllowSharedMemory(Logits<kTiles>, Shape::kBytes);
  const int64_t blocks = groups * CeilDivide(arguments.vocab, int64_t{Shape::kWords});
  Launch(backend.launch_stream(), Logits<kTiles>,
         {dim3(static_cast<unsigned>(blocks)), dim3(Shape::kThreads), Shape::kBytes}, arguments);
}

}  // namespace

void CudaBackend::Head(TensorView<const float> x, TensorView<const BFloat16> table,
                       TensorView<float> logits) {
  CHECK(x.cols() == table.cols() && logits.cols() == table.rows(), "Head shapes");
  CHECK(x.cols() % 16 == 0 && logits.rows() == x.rows(), "rows of a multiple of 16 channels");
  CHECK(
      reinterpret_cast<uintptr_t>(x.data()) % 16 == 0 && reinterpret_cast<uintptr_t>(table.data()) % 16 == 0,
      "Head: rows aligned to 16 bytes");
  if (logits.empty()) return;
  HeadArguments arguments = {};
  arguments.x = x.data();
  arguments.table = reinterpret_cast<const uint16_t*>(table.data());
  arguments.logits = logits.data();
  arguments.rows = x.rows();
  arguments.vocab = logits.cols();
  arguments.h = static_cast<int>(x.cols());
  arguments.spans = static_cast<int>(CeilDivide(x.cols(), int64_t{kSpan}));
  if (arguments.rows <= kTileRows) return LaunchLogits<1>(*this, arguments);
  if (arguments.rows <= 2 * kTileRows) return LaunchLogits<2>(*this, arguments);
  LaunchLogits<4>(*this, arguments);
}

}  // namespace ternion::cuda
