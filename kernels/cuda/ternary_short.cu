// 1 to 4 tokens, where all that a block reads of the weights is on its multiprocessor at once: the matmul is then a
// chain of latencies behind the kernel before it, and what counts is how few instructions one warp has to run from the
// input to the output. As in kernels/cuda/ternary_decode.cu a code's bit planes are the columns of a binary product.
//
// A block takes neighbouring tiles of 16 outputs. A warp has one tile of one matrix, or a part of its inputs, in one copy, but
// for what its registers hold where shared memory does not suffice, and all warps make the planes of the codes. The copies
// are under way long before the kernel before this one is done, since a multiprocessor has room for several such blocks; so
// they are not started all at once, lest what that kernel reads wait behind them.
#include <algorithm>
#include <utility>

#include "kernels/cuda/decode_planes.cuh"
#include "kernels/cuda/read_once.cuh"
#include "kernels/cuda/ternary_decode.cuh"
#include "kernels/cuda/ternary_division.cuh"
#include "kernels/cuda/ternary_epilogue.cuh"
#include "kernels/cuda/ternary_mma.cuh"
#include "kernels/cuda/ternary_pipeline.cuh"
#include "kernels/cuda/ternary_rows.h"

namespace ternion::cuda {
namespace {

constexpr int kMostWarps = 16;
constexpr int kHeldUnits = 2;  // that a warp holds in registers: more would not leave enough of them
// A block's weights on their way together. So many keep memory busy; more delay what the kernel before still has to read.
constexpr int64_t kLeastAhead = 16 << 10;
constexpr int64_t kMostAhead = 32 << 10;
constexpr int64_t kGatedAhead = 24 << 10;

// The launch, and where things lie in shared memory, in bytes: first a barrier a warp.
struct ShortShape {
  int blocks;
  int warps;
  int parts;  // of a tile's inputs, a warp each
  int tile_units;
  Division tiles;  // among the blocks
  Division units;  // among the parts
  Division made;   // planes of units, among the warps
  int ahead;       // warps whose weights are on their way together
  int held;        // units of a warp's part, its last ones, that wait in registers
  int weights;     // [tiles * matrices][tile_units - parts * held] units
  int planes;      // [tokens][units][32] pairs of words
  int sums;        // [tiles][matrices][tokens][16], then [tokens] of codes
  int bytes;
};

struct ShortWork {
  RowsWork rows;
  Epilogue epilogue;
  ShortShape shape;
};

// Shared memory by its own addresses: those of pointers are made anew at every use, which takes longer than the access.
__device__ __forceinline__ uint4 LoadShared16(uint32_t address) {
  uint4 x;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "r"(address)
               : "memory");
  return x;
}
__device__ __forceinline__ uint2 LoadShared8(uint32_t address) {
  uint2 x;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(x.x), "=r"(x.y) : "r"(address) : "memory");
  return x;
}
__device__ __forceinline__ uint32_t LoadShared4(uint32_t address) {
  uint32_t x;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
  return x;
}
__device__ __forceinline__ void StoreShared8(uint32_t address, uint2 x) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(x.x), "r"(x.y) : "memory");
}
__device__ __forceinline__ void StoreShared4(uint32_t address, uint32_t x) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(x) : "memory");
}
__device__ __forceinline__ void AddShared(uint32_t address, int x) {
  asm volatile("red.shared.add.s32 [%0], %1;" ::"r"(address), "r"(x) : "memory");
}
// The first phase of a barrier is over.
__device__ __forceinline__ void WaitShared(uint32_t barrier) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.test_wait.parity.shared.b64 p, [%1], 0;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier)
        : "memory");
  }
}

__device__ __forceinline__ uint64_t* BarrierOf(int warp) {
  return reinterpret_cast<uint64_t*>(DynamicShared()) + warp;
}

// A lane's share of some units.
template <int kUnits>
struct HeldUnits {
  uint4 planes[kUnits][2];
};
template <>
struct HeldUnits<0> {};

// Where in shared memory the warp's copied units begin.
template <int kHeld>
__device__ __forceinline__ int CopiedWeights(const ShortShape& shape, int item, const Part& units) {
  return shape.weights + (item * shape.tile_units + units.first - WarpIndex() * kHeld) * kUnitBytes;
}

// The warp's part of its tile is on its way. The whole block calls it.
template <int kHeld>
__device__ __forceinline__ void FetchWeights(const ShortWork& work, int matrices, const Part& tiles, int item,
                                             const Part& units, HeldUnits<kHeld>& held) {
  const ShortShape& shape = work.shape;
  uint64_t* const barrier = BarrierOf(WarpIndex());
  if (Lane() == 0) {
    InitStage(barrier, 1);
    PublishStages();
  }
  __syncthreads();
  if (item >= tiles.count * matrices) return;
  if (WarpIndex() >= shape.ahead) WaitShared(SharedAddress(BarrierOf(WarpIndex() - shape.ahead)));
  const uint8_t* const weights = item % matrices == 0 ? work.rows.matmul.weights : work.rows.up_weights;
  const int64_t unit = static_cast<int64_t>(tiles.first + item / matrices) * shape.tile_units + units.first;
  const int copied = (units.count - kHeld) * kUnitBytes;
  AnnounceStage(barrier, copied);
  CopyToStage(DynamicShared() + CopiedWeights<kHeld>(shape, item, units), weights + unit * kUnitBytes, copied,
              barrier);
  EndStage(barrier);
  if constexpr (kHeld > 0) {
    const uint8_t* const from = weights + unit * kUnitBytes + copied + Lane() * 16;
#pragma unroll
    for (int u = 0; u < kHeld; ++u) {
      held.planes[u][0] = ReadOnce(from + u * kUnitBytes);
      held.planes[u][1] = ReadOnce(from + u * kUnitBytes + kPlaneBytes);
    }
  }
}

// Makes the planes of some units, where the lanes of all warps find theirs; the sums of the codes are added to the rows'.
template <int kTokens>
__device__ __forceinline__ void MakePlanes(const ShortWork& work, const Part& made, uint32_t planes,
                                           uint32_t code_sums) {
  const int inputs = static_cast<int>(work.rows.matmul.inputs);
  int sum[kTokens] = {};
#pragma unroll 2
  for (int u = made.first; u < made.first + made.count; ++u) {
    uint32_t words[kTokens][2];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const int8_t* const from = work.rows.matmul.codes + t * inputs + u * kUnitInputs + LaneInput(Lane());
      words[t][0] = *reinterpret_cast<const uint32_t*>(from);
      words[t][1] = *reinterpret_cast<const uint32_t*>(from + kLaneStep);
    }
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      sum[t] = __dp4a(static_cast<int>(words[t][0]), 0x01010101, sum[t]);
      sum[t] = __dp4a(static_cast<int>(words[t][1]), 0x01010101, sum[t]);
      StoreShared8(planes + ((t * work.shape.tile_units + u) * kWarp + Lane()) * 8,
                   PlanesOfCodes(words[t][0], words[t][1]));
    }
  }
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    const int all = WarpSum(sum[t]);
    if (Lane() == 0) AddShared(code_sums + t * 4, all);
  }
}

// Adds the products of the warp's part of its tile to the tile's sums [tokens][16].
template <int kTokens, int kHeld>
__device__ __forceinline__ void Multiply(uint32_t weights, const HeldUnits<kHeld>& held, uint32_t planes,
                                         int tile_units, int count, uint32_t sums) {
  const int g = Lane() / 4, q = Lane() % 4;
  weights += Lane() * 16;
  planes += Lane() * 8;
  int counts[kTokens][2][4] = {};
#pragma unroll 2
  for (int u = 0; u < count - kHeld; ++u) {
    const uint4 plane0 = LoadShared16(weights + u * kUnitBytes);
    const uint4 plane1 = LoadShared16(weights + u * kUnitBytes + kPlaneBytes);
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const uint2 code = LoadShared8(planes + (t * tile_units + u) * kWarp * 8);
      BinaryMma(plane0, code, counts[t][0]);
      BinaryMma(plane1, code, counts[t][1]);
    }
  }
  if constexpr (kHeld > 0) {
    static_assert(kTokens == 1);
#pragma unroll
    for (int u = 0; u < kHeld; ++u) {
      const uint2 code = LoadShared8(planes + (count - kHeld + u) * kWarp * 8);
      BinaryMma(held.planes[u][0], code, counts[0][0]);
      BinaryMma(held.planes[u][1], code, counts[0][1]);
    }
  }
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    const int sum = TileSum(counts[t]);
    if (q < 2) AddShared(sums + (t * kTileOutputs + g + 8 * q) * 4, sum);
  }
}

// What a thread stores: one column of the block's, of every token.
template <int kTokens, int kMatrices>
struct Output {
  int64_t place;  // of token 0; negative: none
  float weight_scale[kMatrices] = {};
  float row_scale[kTokens] = {};
  float before[kTokens] = {};

  __device__ __forceinline__ Output(const ShortWork& work, const Part& tiles) {
    const MatmulWork& matmul = work.rows.matmul;
    const int64_t column = static_cast<int64_t>(tiles.first) * kTileOutputs + threadIdx.x;
    const bool stores = static_cast<int>(threadIdx.x) < tiles.count * kTileOutputs && column < matmul.outputs;
    place = stores ? column : -1;
    if (!stores || work.epilogue == Epilogue::kSums) return;
    weight_scale[0] = matmul.weight_scale[column];
    if constexpr (kMatrices == 2) weight_scale[1] = work.rows.up_scale[column];
  }

  // What earlier kernels made.
  __device__ __forceinline__ void Load(const ShortWork& work) {
    const MatmulWork& matmul = work.rows.matmul;
    if (place < 0) return;
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      if (work.epilogue != Epilogue::kSums) row_scale[t] = matmul.row_scale[t];
      if (kMatrices == 1 && work.epilogue == Epilogue::kAdd) before[t] = matmul.y[place + t * matmul.outputs];
    }
  }

  __device__ __forceinline__ void Store(const ShortWork& work, uint32_t sums, uint32_t code_sums) const {
    const MatmulWork& matmul = work.rows.matmul;
    if (place < 0) return;
    sums +=
        (threadIdx.x / kTileOutputs * kMatrices * kTokens * kTileOutputs + threadIdx.x % kTileOutputs) * 4;
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const int64_t at = place + t * matmul.outputs;
      const int code_sum = static_cast<int>(LoadShared4(code_sums + t * 4));
      int sum[kMatrices];
      float f[kMatrices];
#pragma unroll
      for (int m = 0; m < kMatrices; ++m) {
        sum[m] = static_cast<int>(LoadShared4(sums + (m * kTokens + t) * kTileOutputs * 4)) - code_sum;
        f[m] = Dequantized(sum[m], row_scale[t], weight_scale[m]);
      }
      if constexpr (kMatrices == 2) {
        matmul.y[at] = Gated(work.epilogue, f[0], f[1]);
      } else if (work.epilogue == Epilogue::kSums) {
        matmul.sums[at] = sum[0];
      } else {
        matmul.y[at] = work.epilogue == Epilogue::kAdd ? before[t] + f[0] : f[0];
      }
    }
  }
};

template <int kTokens, int kMatrices, int kHeld>
__global__ void __launch_bounds__(kMostWarps* kWarp, 2) ShortKernel(const __grid_constant__ ShortWork work) {
  StartNext();
  const ShortShape& shape = work.shape;
  const Part tiles = shape.tiles.part(static_cast<int>(blockIdx.x));
  const int item = WarpIndex() / shape.parts;
  const Part units = shape.units.part(WarpIndex() - item * shape.parts);
  HeldUnits<kHeld> held;
  FetchWeights(work, kMatrices, tiles, item, units, held);
  uint32_t shared = SharedAddress(DynamicShared());
  asm volatile("" : "+r"(shared));  // else it is made anew at every use
  const int items = tiles.count * kMatrices, item_bytes = kTokens * kTileOutputs * 4;
  const uint32_t sums = shared + shape.sums, code_sums = sums + items * item_bytes;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < items * kTokens * kTileOutputs + kTokens;
       i += static_cast<int>(blockDim.x)) {
    StoreShared4(sums + i * 4, 0);
  }
  Output<kTokens, kMatrices> output(work, tiles);
  __syncthreads();
  FindOperands(work.rows.matmul);
  WaitForPrevious();
  output.Load(work);
  MakePlanes<kTokens>(work, shape.made.part(WarpIndex()), shared + shape.planes, code_sums);
  __syncthreads();
  if (item < items) {
    WaitShared(shared + 8 * WarpIndex());
    Multiply<kTokens>(shared + CopiedWeights<kHeld>(shape, item, units), held,
                      shared + shape.planes + units.first * kWarp * 8, shape.tile_units, units.count,
                      sums + item * item_bytes);
  }
  __syncthreads();
  output.Store(work, sums, code_sums);
}

// Two blocks share a multiprocessor: of one kernel, or of two.
int64_t MostBytes(const CudaBackend& backend) {
  const cudaDeviceProp& properties = backend.properties();
  return static_cast<int64_t>(properties.sharedMemPerMultiprocessor / 2 -
                              properties.reservedSharedMemPerBlock);
}

constexpr int64_t kBarriersAndGaps = 256;

// How many tiles of one matrix a block has room for.
int64_t TilesThatFit(const CudaBackend& backend, const RowsWork& work) {
  const int64_t units = Units(work.matmul.inputs), tokens = work.matmul.tokens;
  const int64_t room = MostBytes(backend) - kBarriersAndGaps - tokens * (units * kUnitInputs + 4);
  return std::min<int64_t>(kMostWarps, room / (units * kUnitBytes + tokens * kTileOutputs * 4));
}

// Of a tile, where a block has `items` tiles of one matrix.
int64_t PartsOf(int64_t units, int64_t items) {
  return CeilDivide(units, CeilDivide(units, std::clamp<int64_t>(kMostWarps / items, 1, units)));
}

// How many units each warp has to hold in registers for a block to have room for so many tiles of one matrix; -1: it has none
// even so. Only one token's matrix leaves the registers.
int64_t HeldToFit(const CudaBackend& backend, const RowsWork& work, int64_t items) {
  if (items <= TilesThatFit(backend, work)) return 0;
  if (work.matrices() == 2 || work.matmul.tokens > 1 || items > kMostWarps) return -1;
  const int64_t units = Units(work.matmul.inputs), parts = PartsOf(units, items);
  const int64_t all =
      kBarriersAndGaps + units * kUnitInputs + 4 + items * (units * kUnitBytes + kTileOutputs * 4);
  const bool copies = units / parts > kHeldUnits;  // of the smallest part too
  return copies && all - items * parts * kHeldUnits * kUnitBytes <= MostBytes(backend) ? kHeldUnits : -1;
}

// How many of the warps' copies are on their way together.
int64_t WarpsAhead(int64_t tokens, int64_t matrices, int64_t block_bytes, int64_t part_bytes) {
  if (tokens > 1) return kMostWarps / 2;
  const int64_t bytes =
      matrices == 2 ? kGatedAhead : std::clamp<int64_t>(block_bytes / 4, kLeastAhead, kMostAhead);
  return std::max<int64_t>(1, (bytes + part_bytes / 2) / part_bytes);
}

// A block a multiprocessor, since two leave little room for the kernels that follow; two for a gated unit, where that spares
// blocks a second tile. Where one token's matrix does not fit otherwise, full blocks, two a multiprocessor at most. 0: it does
// not fit.
int64_t BlocksOf(const CudaBackend& backend, const RowsWork& work) {
  const int64_t tiles = Tiles(work.matmul.outputs), matrices = work.matrices();
  const int64_t processors = backend.multiprocessors();
  if (HeldToFit(backend, work, CeilDivide(tiles, processors) * matrices) >= 0) {
    if (matrices == 2) return CeilDivide(tiles, CeilDivide(tiles, 2 * processors));
    return std::min(tiles, processors);
  }
  const int64_t fit = TilesThatFit(backend, work);
  if (matrices == 2 || work.matmul.tokens > 1 || fit <= 0) return 0;
  const int64_t blocks = CeilDivide(tiles, fit);
  return blocks <= 2 * processors ? blocks : 0;
}

// As many parts of a tile as there are warps for; warps for every unit's planes.
ShortShape ShapeOf(const CudaBackend& backend, const RowsWork& work) {
  const int64_t tiles = Tiles(work.matmul.outputs), units = Units(work.matmul.inputs);
  const int64_t tokens = work.matmul.tokens, matrices = work.matrices();
  ShortShape shape = {};
  shape.blocks = static_cast<int>(BlocksOf(backend, work));
  shape.tiles = Division::Of(tiles, shape.blocks);
  const int64_t items = shape.tiles.most() * matrices;
  shape.held = static_cast<int>(HeldToFit(backend, work, items));
  shape.parts = static_cast<int>(PartsOf(units, items));
  shape.units = Division::Of(units, shape.parts);
  shape.ahead = static_cast<int>(
      WarpsAhead(tokens, matrices, items * units * kUnitBytes, shape.units.most() * kUnitBytes));
  shape.warps = static_cast<int>(std::max(items * shape.parts, std::min<int64_t>(units, kMostWarps)));
  shape.made = Division::Of(units, shape.warps);
  shape.tile_units = static_cast<int>(units);
  int64_t end = CeilDivide(shape.warps * 8, 128) * 128;
  const auto place = [&end](int64_t bytes) {
    return static_cast<int>(std::exchange(end, end + CeilDivide(bytes, 16) * 16));
  };
  shape.weights = place(items * (units - shape.parts * shape.held) * kUnitBytes);
  shape.planes = place(tokens * units * kUnitInputs);
  shape.sums = place((items * kTileOutputs + 1) * tokens * 4);
  shape.bytes = static_cast<int>(end);
  return shape;
}

template <int kTokens, int kMatrices, int kHeld = 0>
void LaunchShort(CudaBackend& backend, const ShortWork& work) {
  const auto kernel = ShortKernel<kTokens, kMatrices, kHeld>;
  const size_t bytes = static_cast<size_t>(work.shape.bytes);
  AllowSharedMemory(kernel, static_cast<size_t>(MostBytes(backend)));
  Launch(backend.launch_stream(), kernel,
         {dim3(static_cast<unsigned>(work.shape.blocks)),
          dim3(static_cast<unsigned>(work.shape.warps * kWarp)), bytes},
         work);
}

}  // namespace

bool TernaryShortFits(const CudaBackend& backend, const RowsWork& work) {
  if (work.matmul.tokens > kDecodeTokens || work.matmul.inputs % kUnitInputs != 0) return false;
  if (reinterpret_cast<uintptr_t>(work.matmul.codes) % sizeof(uint32_t) != 0) return false;
  return BlocksOf(backend, work) > 0;
}

void TernaryShort(CudaBackend& backend, const RowsWork& work, Epilogue epilogue) {
  const ShortWork all{work, epilogue, ShapeOf(backend, work)};
  ForDecodeTokens(work.matmul.tokens, [&](auto tokens) {
    if (work.matrices() == 2) return LaunchShort<tokens(), 2>(backend, all);
    if constexpr (tokens() == 1) {
      if (all.shape.held > 0) return LaunchShort<1, 1, kHeldUnits>(backend, all);
    }
    LaunchShort<tokens(), 1>(backend, all);
  });
}

}  // namespace ternion::cuda
