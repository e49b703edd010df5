// The head, and the largest logit.
//
// Head: bound by reading the table (vocab * h * 2 bytes) for up to 16 rows. A warp multiplies 16 words with 8
// or 16 rows on tensor cores. Of x it takes three bfloat16 terms, whose sum is x to 24 bits, from shared
// memory; of the table each lane loads its own operands, 16 bytes at a time and eight at once: the sum over
// channels is taken in an order in which a lane's eight neighbouring channels are its share of two
// multiplications.
//
// Numerics: per batch of 128 channels, the products of the first terms and those of the other two are added
// up apart; then first terms + others joins the logit. This does not depend on which rows and words stand
// together.
#include <algorithm>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"

namespace ternion::cuda {
namespace {

constexpr int kHeadThreads = 256;
constexpr int kHeadWarps = kHeadThreads / kWarp;
constexpr int kWarpWords = 16;
constexpr int kBlockWords = kHeadWarps * kWarpWords;
constexpr int kTileRows = 8;  // of x, in one multiplication
constexpr int kMostTiles = 2;
constexpr int kTerms = 3;
constexpr int kStep = 32;  // channels of two multiplications: 8 a lane
constexpr int kBatchSteps = 4;
constexpr int kBatch = kBatchSteps * kStep;
constexpr int kSpan = 1024;  // channels of x in shared memory at a time
// The 64 bytes more put the lanes' reads of a multiplication into different banks.
constexpr int kTermBytes = kSpan * 2 + 64;

struct HeadArguments {
  const float* x;  // [rows, h]
  const BFloat16* table;
  float* logits;
  int64_t rows;
  int64_t vocab;
  int h;
};

extern __shared__ uint4 head_memory[];

// Of one row's term (0 to 2), kSpan channels.
template <int kTiles>
__device__ __forceinline__ char* TermRow(int term, int row) {
  return reinterpret_cast<char*>(head_memory) + (term * kTiles * kTileRows + row) * kTermBytes;
}

__device__ __forceinline__ uint32_t BFloat16Bits(float x) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

// Takes a bfloat16 off x: its bits.
__device__ __forceinline__ uint32_t TakeTerm(float& x) {
  const uint32_t bits = BFloat16Bits(x);
  x -= __uint_as_float(bits << 16);
  return bits;
}

// Splits the channels from `begin` on of x's rows; zeros behind the last channel.
template <int kTiles>
__device__ __forceinline__ void SplitRows(const HeadArguments& arguments, int64_t first_row, int rows,
                                          int begin) {
  constexpr int kFours = kSpan / 4;
  for (int i = static_cast<int>(threadIdx.x); i < rows * kFours; i += kHeadThreads) {
    const int row = i / kFours, column = i % kFours * 4;
    float4 x = {0, 0, 0, 0};
    if (begin + column < arguments.h) {
      x = *reinterpret_cast<const float4*>(arguments.x + (first_row + row) * arguments.h + begin + column);
    }
#pragma unroll
    for (int term = 0; term < kTerms; ++term) {
      const uint32_t low = TakeTerm(x.x) | TakeTerm(x.y) << 16, high = TakeTerm(x.z) | TakeTerm(x.w) << 16;
      *reinterpret_cast<uint2*>(TermRow<kTiles>(term, row) + column * 2) = {low, high};
    }
  }
}

template <int kTiles>
__device__ __forceinline__ void ZeroRows(int first) {
  constexpr int kUnits = kTermBytes / 16;
  const int rows = kTiles * kTileRows - first;
  for (int i = static_cast<int>(threadIdx.x); i < kTerms * rows * kUnits; i += kHeadThreads) {
    const int line = i / kUnits;
    reinterpret_cast<uint4*>(TermRow<kTiles>(line / rows, first + line % rows))[i % kUnits] = {0, 0, 0, 0};
  }
}

// A lane's share of 16 words by kBatch channels: of words lane / 4 and lane / 4 + 8.
struct TableBatch {
  uint4 words[2][kBatchSteps];

  // `lane_words` point to the lane's first channel; `channel` is the batch's first plus that.
  __device__ __forceinline__ void Load(const BFloat16* const (&lane_words)[2], int begin, int channel,
                                       int h) {
#pragma unroll
    for (int step = 0; step < kBatchSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint4& to = words[half][step];
        to = {0, 0, 0, 0};
        if (channel + step * kStep < h) {
          asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                       : "=r"(to.x), "=r"(to.y), "=r"(to.z), "=r"(to.w)
                       : "l"(lane_words[half] + begin + step * kStep));
        }
      }
    }
  }
};

__device__ __forceinline__ void MultiplyWords(float (&sum)[4], const uint4& low, const uint4& high,
                                              const uint4& x) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "r"(x.x), "r"(x.y));
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(low.z), "r"(high.z), "r"(low.w), "r"(high.w), "r"(x.z), "r"(x.w));
}

// sums += batch . x for the batch that begins at channel `column` of shared memory.
template <int kTiles>
__device__ __forceinline__ void AddBatch(const TableBatch& batch, int column, float (&sums)[kTiles][4]) {
  float first[kTiles][4] = {}, others[kTiles][4] = {};
#pragma unroll
  for (int step = 0; step < kBatchSteps; ++step) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int term = 0; term < kTerms; ++term) {
        const char* x = TermRow<kTiles>(term, tile * kTileRows + Lane() / 4) + (column + step * kStep) * 2;
        MultiplyWords(term == 0 ? first[tile] : others[tile], batch.words[0][step], batch.words[1][step],
                      reinterpret_cast<const uint4*>(x)[Lane() % 4]);
      }
    }
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[tile][i] += first[tile][i] + others[tile][i];
  }
}

template <int kTiles>
__device__ __forceinline__ void StoreLogits(const HeadArguments& arguments, int64_t first_row, int rows,
                                            int64_t word, const float (&sums)[kTiles][4]) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = tile * kTileRows + Lane() % 4 * 2 + i % 2;
      const int64_t v = word + i / 2 * 8;
      if (row < rows && v < arguments.vocab)
        arguments.logits[(first_row + row) * arguments.vocab + v] = sums[tile][i];
    }
  }
}

template <int kTiles>
__global__ void __launch_bounds__(kHeadThreads, kTiles == 1 ? 3 : 2) Logits(HeadArguments arguments) {
  StartNext();
  constexpr int kRows = kTiles * kTileRows;
  // Blocks of the same words follow each other, so that the table is read from memory once.
  const int64_t groups = CeilDivide(arguments.rows, kRows);
  const int64_t first_row = blockIdx.x % groups * kRows;
  const int rows = static_cast<int>(min(int64_t{kRows}, arguments.rows - first_row));
  const int64_t word = blockIdx.x / groups * kBlockWords + WarpIndex() * kWarpWords + Lane() / 4;
  const int lane_channel = Lane() % 4 * 8;
  const BFloat16* lane_words[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    lane_words[half] =
        arguments.table + min(word + half * 8, arguments.vocab - 1) * arguments.h + lane_channel;
  }
  TableBatch batch;
  batch.Load(lane_words, 0, lane_channel, arguments.h);
  if (rows < kRows) ZeroRows<kTiles>(rows);
  WaitForPrevious();

  float sums[kTiles][4] = {};
  for (int span = 0; span < arguments.h; span += kSpan) {
    SplitRows<kTiles>(arguments, first_row, rows, span);
    __syncthreads();
    const int end = min(arguments.h, span + kSpan);
    for (int begin = span; begin < end; begin += kBatch) {
      AddBatch<kTiles>(batch, begin - span, sums);
      batch.Load(lane_words, begin + kBatch, begin + kBatch + lane_channel, arguments.h);
    }
    __syncthreads();  // the next channels take the place of these
  }
  StoreLogits<kTiles>(arguments, first_row, rows, word, sums);
}

template <int kTiles>
void LaunchLogits(const Stream& stream, const HeadArguments& arguments) {
  constexpr int kBytes = kTerms * kTiles * kTileRows * kTermBytes;
  AllowSharedMemory(Logits<kTiles>, kBytes);
  const int64_t blocks =
      CeilDivide(arguments.rows, kTiles * kTileRows) * CeilDivide(arguments.vocab, int64_t{kBlockWords});
  Launch(stream, Logits<kTiles>, {dim3(static_cast<unsigned>(blocks)), dim3(kHeadThreads), kBytes},
         arguments);
}

// A number and where it stands; nothing yet.
struct Largest {
  float value = -INFINITY;
  int32_t index = INT32_MAX;

  __device__ __forceinline__ void Take(float v, int32_t i) {
    if (v > value || (v == value && i < index)) {
      value = v;
      index = i;
    }
  }
  __device__ __forceinline__ void TakeWarp() {
#pragma unroll
    for (int half = kWarp / 2; half > 0; half /= 2) {
      const float v = __shfl_xor_sync(kAllLanes, value, half);
      Take(v, __shfl_xor_sync(kAllLanes, index, half));
    }
  }
};

constexpr int kArgMaxThreads = 256;
constexpr int kArgMaxParts = kWarp;  // of a row

// Of part x of row y.
__global__ void __launch_bounds__(kArgMaxThreads)
    LargestOfParts(const float* logits, int64_t vocab, float* values, int32_t* indices) {
  StartNext();
  constexpr int kWarps = kArgMaxThreads / kWarp;
  __shared__ float warp_values[kWarps];
  __shared__ int32_t warp_indices[kWarps];
  const int64_t part_size = CeilDivide(vocab, kArgMaxParts);
  const int64_t begin = blockIdx.x * part_size, end = min(vocab, begin + part_size);
  const float* const row = logits + blockIdx.y * vocab;
  WaitForPrevious();
  Largest largest;
#pragma unroll 8
  for (int64_t i = begin + threadIdx.x; i < end; i += kArgMaxThreads)
    largest.Take(row[i], static_cast<int32_t>(i));
  largest.TakeWarp();
  if (Lane() == 0) {
    warp_values[WarpIndex()] = largest.value;
    warp_indices[WarpIndex()] = largest.index;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kWarps; ++warp) largest.Take(warp_values[warp], warp_indices[warp]);
  values[blockIdx.y * kArgMaxParts + blockIdx.x] = largest.value;
  indices[blockIdx.y * kArgMaxParts + blockIdx.x] = largest.index;
}

__global__ void __launch_bounds__(kWarp)
    LargestOfRow(const float* values, const int32_t* indices, int32_t* ids) {
  StartNext();
  WaitForPrevious();
  Largest largest;
  largest.Take(values[blockIdx.x * kArgMaxParts + Lane()], indices[blockIdx.x * kArgMaxParts + Lane()]);
  largest.TakeWarp();
  if (Lane() == 0) ids[blockIdx.x] = largest.index == INT32_MAX ? 0 : largest.index;  // only NaN
}

}  // namespace

void CudaBackend::Head(TensorView<const float> x, TensorView<const BFloat16> table,
                       TensorView<float> logits) {
  CHECK(x.cols() == table.cols() && x.cols() % 16 == 0, "Head shapes");
  CHECK(logits.rows() == x.rows() && logits.cols() == table.rows(), "Head shapes");
  CHECK(
      reinterpret_cast<uintptr_t>(x.data()) % 16 == 0 && reinterpret_cast<uintptr_t>(table.data()) % 16 == 0,
      "Head: rows aligned to 16 bytes");
  if (logits.empty()) return;
  const HeadArguments arguments = {x.data(), table.data(), logits.data(),
                                   x.rows(), table.rows(), static_cast<int>(x.cols())};
  if (x.rows() <= kTileRows) return LaunchLogits<1>(launch_stream(), arguments);
  LaunchLogits<kMostTiles>(launch_stream(), arguments);
}

void CudaBackend::ArgMax(TensorView<const float> logits, TensorView<int32_t> ids) {
  CHECK(ids.size() == logits.rows() && logits.cols() > 0, "ArgMax shapes");
  if (logits.rows() == 0) return;
  const int64_t parts = logits.rows() * kArgMaxParts;
  float* const values = Scratch<float>(Purpose::kPartials, 2 * parts);
  int32_t* const indices = reinterpret_cast<int32_t*>(values + parts);
  const dim3 grid(kArgMaxParts, static_cast<unsigned>(logits.rows()));
  Launch(launch_stream(), LargestOfParts, {grid, dim3(kArgMaxThreads)}, logits.data(), logits.cols(), values,
         indices);
  Launch(launch_stream(), LargestOfRow, {dim3(static_cast<unsigned>(logits.rows())), dim3(kWarp)}, values,
         indices, ids.data());
}

}  // namespace ternion::cuda
