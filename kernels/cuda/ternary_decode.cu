// 1 to 4 tokens, by binary tensor cores: a code's eight bit planes are the eight columns of mma.m16n8k256.b1, whose
// counts times their powers of two are the exact sum. Nothing is unpacked, so the kernel is bound by reading the weights.
//
// A block takes neighbouring tiles of 16 outputs; its warps divide the inputs among them, whole units each. A warp turns
// its own share of the codes into planes in shared memory, streams its share of every tile through a ring of its own and
// adds to the block's sums. The rings are full before the kernels before this one are done. Divisions are the host's,
// and what is rare is not unrolled: on a small matrix the time to the first copy and the code's own fetch count.
#include <algorithm>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ternary_decode.cuh"
#include "kernels/cuda/ternary_division.cuh"
#include "kernels/cuda/ternary_epilogue.cuh"
#include "kernels/cuda/ternary_mma.cuh"
#include "kernels/cuda/ternary_pipeline.cuh"
#include "kernels/cuda/ternary_rows.h"

namespace ternion::cuda {
namespace {

// The launch, and where things lie in shared memory, in bytes: barriers first.
struct DecodeShape {
  int blocks;
  int warps;
  Division tiles;  // among the blocks
  Division units;  // among the warps
  int tile_units;  // of all warps
  int stage_units;
  int stages;  // of a warp
  int ring;    // [warps][stages][stage_units] units
  int planes;  // [tokens][units][kPlaneWords]
  int sums;    // [tiles][matrices][tokens][16]
  int scales;  // [matrices][tiles * 16], then [tokens]
  int bytes;
};

struct DecodeWork {
  RowsWork rows;
  Epilogue epilogue;
  DecodeShape shape;
};

// A warp's share of its block's weights, in the order of use: tile by tile, of each tile matrix by matrix, of each
// matrix chunks of stage_units units.
template <int kMatrices>
class WeightRing {
 public:
  // `one_by_one`: a stage is not filled before the last one is full.
  __device__ WeightRing(const DecodeWork& work, const Part& tiles, const Part& units, bool one_by_one)
      : weights_(work.rows.matmul.weights),
        up_weights_(work.rows.up_weights),
        tile_units_(work.shape.tile_units),
        first_tile_(tiles.first),
        items_(tiles.count * kMatrices),
        units_(units),
        stage_units_(work.shape.stage_units),
        stages_(work.shape.stages) {
    barriers_ = reinterpret_cast<uint64_t*>(DynamicShared()) + WarpIndex() * stages_;
    ring_ = DynamicShared() + work.shape.ring + WarpIndex() * stages_ * stage_units_ * kUnitBytes;
    if (Lane() == 0) {
#pragma unroll 1
      for (int i = 0; i < stages_; ++i) InitStage(barriers_ + i, 1);
      PublishStages();
    }
    __syncwarp();
#pragma unroll 1
    for (int i = 0; i < stages_ && item_ != items_; ++i) {
      if (one_by_one && i > 0) WaitStage(barriers_ + i - 1, 0);
      Fill(i);
    }
  }

  // The next chunk has come: units [unit][plane][lane].
  __device__ const uint4* Wait() {
    WaitStage(barriers_ + stage_, parity_);
    return reinterpret_cast<const uint4*>(ring_ + stage_ * stage_units_ * kUnitBytes);
  }
  // The warp has read it.
  __device__ void Release() {
    __syncwarp();
    Fill(stage_);
    if (++stage_ == stages_) stage_ = 0, parity_ ^= 1;
  }

 private:
  // While there is something left.
  __device__ void Fill(int stage) {
    if (item_ == items_) return;
    const int64_t unit =
        static_cast<int64_t>(first_tile_ + item_ / kMatrices) * tile_units_ + units_.first + unit_;
    const int bytes = min(stage_units_, units_.count - unit_) * kUnitBytes;
    AnnounceStage(barriers_ + stage, bytes);
    const uint8_t* const weights = item_ % kMatrices == 0 ? weights_ : up_weights_;
    CopyToStage(ring_ + stage * stage_units_ * kUnitBytes, weights + unit * kUnitBytes, bytes,
                barriers_ + stage);
    EndStage(barriers_ + stage);
    unit_ += stage_units_;
    if (unit_ >= units_.count) unit_ = 0, ++item_;
  }

  const uint8_t* const weights_;
  const uint8_t* const up_weights_;
  const int tile_units_;
  const int first_tile_;
  const int items_;
  const Part units_;
  const int stage_units_;
  const int stages_;
  uint64_t* barriers_;
  uint8_t* ring_;
  // To be filled next: matrix item_ % kMatrices of the block's tile item_ / kMatrices, from the share's unit unit_ on.
  int item_ = 0;
  int unit_ = 0;
  int stage_ = 0;  // read next
  uint32_t parity_ = 0;
};

__device__ __forceinline__ uint32_t* PlanesOf(const DecodeWork& work, int token, int unit) {
  return reinterpret_cast<uint32_t*>(DynamicShared() + work.shape.planes) +
         (token * work.shape.tile_units + unit) * kPlaneWords;
}

// The planes of the warp's units and the sums of their codes, in every lane. A lane takes 32 neighbouring inputs.
template <int kTokens>
__device__ __forceinline__ void MakePlanes(const DecodeWork& work, const Part& units,
                                           int (&code_sums)[kTokens]) {
  constexpr int kRounds = kTokens <= 2 ? 4 / kTokens : 1;  // whose loads are on their way together
  const MatmulWork& matmul = work.rows.matmul;
  const int inputs = static_cast<int>(matmul.inputs), groups = units.count * kPlanes;
  const bool aligned = inputs % 16 == 0 && reinterpret_cast<uintptr_t>(matmul.codes) % 16 == 0;
#pragma unroll
  for (int t = 0; t < kTokens; ++t) code_sums[t] = 0;
  for (int first = Lane(); first < groups; first += kRounds * kWarp) {
    uint32_t words[kRounds][kTokens][kPlanes];
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const int group = first + r * kWarp;
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        if (group >= groups) continue;
        LoadCodes(matmul.codes + t * matmul.inputs, units.first * kUnitInputs + group * 32, inputs, aligned,
                  words[r][t]);
      }
    }
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const int group = first + r * kWarp, unit = group / kPlanes, half = group / 4 % 2, q = group % 4;
      if (group >= groups) break;
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
#pragma unroll
        for (int i = 0; i < kPlanes; ++i) {
          code_sums[t] = __dp4a(static_cast<int>(words[r][t][i]), 0x01010101, code_sums[t]);
        }
        TransposeBits(words[r][t]);
        uint32_t* const planes = PlanesOf(work, t, units.first + unit) + half;
#pragma unroll
        for (int plane = 0; plane < kPlanes; ++plane) {
          planes[2 * PlanePlace(unit, 4 * plane + q)] = words[r][t][plane];
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTokens; ++t) code_sums[t] = WarpSum(code_sums[t]);
  __syncwarp();
}

// Adds the warp's share of a tile to the block's sums [tokens][16].
template <int kTokens>
__device__ __forceinline__ void AddTile(const int (&counts)[kTokens][2][4], const int (&code_sums)[kTokens],
                                        int* sums) {
  const int g = Lane() / 4, q = Lane() % 4;
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    const int sum = TileSum(counts[t]);
    if (q < 2) atomicAdd(sums + t * kTileOutputs + g + 8 * q, sum - code_sums[t]);
  }
}

// The warp's share of every tile of the block.
template <int kTokens, int kMatrices>
__device__ __forceinline__ void Multiply(const DecodeWork& work, const Part& tiles, const Part& units,
                                         const int (&code_sums)[kTokens], WeightRing<kMatrices>& ring,
                                         int* sums) {
  for (int item = 0; item < tiles.count * kMatrices; ++item) {
    int counts[kTokens][2][4] = {};
    for (int begin = 0; begin < units.count; begin += work.shape.stage_units) {
      const uint4* const weights = ring.Wait() + Lane();
      const int count = min(work.shape.stage_units, units.count - begin);
#pragma unroll 2
      for (int u = 0; u < count; ++u) {
        const uint4 plane0 = weights[u * 2 * kWarp], plane1 = weights[u * 2 * kWarp + kWarp];
#pragma unroll
        for (int t = 0; t < kTokens; ++t) {
          const uint2* const planes =
              reinterpret_cast<const uint2*>(PlanesOf(work, t, units.first + begin + u));
          const uint2 code = planes[PlanePlace(begin + u, Lane())];
          BinaryMma(plane0, code, counts[t][0]);
          BinaryMma(plane1, code, counts[t][1]);
        }
      }
      ring.Release();
    }
    AddTile<kTokens>(counts, code_sums, sums + item * kTokens * kTileOutputs);
  }
}

// The block's outputs: a thread takes all tokens of every blockDim.x-th.
template <int kTokens, int kMatrices>
class Outputs {
 public:
  // Fetches the scales, and what the epilogue reads of y.
  __device__ Outputs(const DecodeWork& work, const Part& tiles)
      : work_(work),
        first_(static_cast<int64_t>(tiles.first) * kTileOutputs),
        columns_(static_cast<int>(
            min(static_cast<int64_t>(tiles.count) * kTileOutputs, work.rows.matmul.outputs - first_))) {
    if (work.epilogue == Epilogue::kSums) return;
    const MatmulWork& matmul = work.rows.matmul;
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll 1
    for (int column = thread; column < columns_; column += static_cast<int>(blockDim.x)) {
      scales(0)[column] = matmul.weight_scale[first_ + column];
      if (kMatrices == 2) scales(1)[column] = work.rows.up_scale[first_ + column];
    }
    if (thread < kTokens) scales(kMatrices)[thread] = matmul.row_scale[thread];
    if (!Reads<kMatrices>(work.epilogue) || thread >= columns_) return;
#pragma unroll
    for (int t = 0; t < kTokens; ++t) before_[t] = matmul.y[t * matmul.outputs + first_ + thread];
  }

  // sums [tiles][matrices][tokens][16], scales and all threads' sums are there.
  __device__ void Store(const int* sums) const {
    const MatmulWork& matmul = work_.rows.matmul;
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll 1
    for (int column = thread; column < columns_; column += static_cast<int>(blockDim.x)) {
      const int* const of_tile = sums + column / kTileOutputs * kMatrices * kTokens * kTileOutputs;
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        const int* const sum = of_tile + t * kTileOutputs + column % kTileOutputs;
        const int64_t place = t * matmul.outputs + first_ + column;
        if (work_.epilogue == Epilogue::kSums) {
          matmul.sums[place] = *sum;
          continue;
        }
        float f[kMatrices];
#pragma unroll
        for (int m = 0; m < kMatrices; ++m) {
          f[m] = Dequantized(sum[m * kTokens * kTileOutputs], scales(kMatrices)[t], scales(m)[column]);
        }
        float before = before_[t];
        if (Reads<kMatrices>(work_.epilogue) && column != thread) before = matmul.y[place];
        matmul.y[place] = Finished<kMatrices>(work_.epilogue, f, before);
      }
    }
  }

 private:
  // Of a matrix; behind those of the matrices come the rows'.
  __device__ float* scales(int matrix) const {
    return reinterpret_cast<float*>(DynamicShared() + work_.shape.scales) + matrix * columns_;
  }

  const DecodeWork& work_;
  const int64_t first_;
  const int columns_;
  float before_[kTokens] = {};
};

template <int kTokens, int kMatrices>
__global__ void __launch_bounds__(kMostShares* kWarp, 2)
    DecodeKernel(const __grid_constant__ DecodeWork work) {
  StartNext();
  const Part tiles = work.shape.tiles.part(static_cast<int>(blockIdx.x));
  const Part units = work.shape.units.part(WarpIndex());
  // What the kernels before still have to read must not wait behind all of a ring; with more tokens, and of gated units, it
  // costs less than filling slowly.
  WeightRing<kMatrices> ring(work, tiles, units, /*one_by_one=*/kTokens == 1 && kMatrices == 1);
  int* const sums = reinterpret_cast<int*>(DynamicShared() + work.shape.sums);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < tiles.count * kMatrices * kTokens * kTileOutputs;
       i += static_cast<int>(blockDim.x)) {
    sums[i] = 0;
  }
  __syncthreads();
  WaitForPrevious();
  const Outputs<kTokens, kMatrices> outputs(work, tiles);
  int code_sums[kTokens];
  MakePlanes<kTokens>(work, units, code_sums);
  Multiply<kTokens, kMatrices>(work, tiles, units, code_sums, ring, sums);
  __syncthreads();
  outputs.Store(sums);
}

constexpr int kMostStageUnits = 4;
constexpr int64_t kMostTiles = 64;  // of a block
constexpr int64_t kReserve = 1024;  // of a block's shared memory, the driver's
// Two blocks of so many bytes share a multiprocessor: a kernel fills its rings while the one before still runs.
constexpr int64_t kHalf = 110 << 10;
// Rings of fewer bytes a multiprocessor do not keep its memory busy.
constexpr int64_t kLeastRing = 64 << 10;

int64_t PlaneBytes(const MatmulWork& work) { return work.tokens * Units(work.inputs) * kUnitInputs; }

DecodeShape ShapeOf(const CudaBackend& backend, const RowsWork& work) {
  const int64_t tiles = Tiles(work.matmul.outputs), units = Units(work.matmul.inputs),
                tokens = work.matmul.tokens, matrices = work.matrices();
  const int64_t processors = backend.multiprocessors();
  DecodeShape shape = {};
  shape.warps = WarpsThatShare(units);
  const int64_t few = tiles <= 2 * processors ? tiles : processors;
  shape.blocks = static_cast<int>(std::max(few, CeilDivide(tiles, kMostTiles)));
  shape.tiles = Division::Of(tiles, shape.blocks);
  shape.units = Division::Of(units, shape.warps);
  shape.tile_units = static_cast<int>(units);
  const int64_t block_tiles = CeilDivide(tiles, shape.blocks), share = CeilDivide(units, shape.warps);
  const int64_t sum_bytes = block_tiles * matrices * tokens * kTileOutputs * 4;
  const int64_t scale_bytes = (matrices * block_tiles * kTileOutputs + tokens) * 4;
  const int64_t most = static_cast<int64_t>(backend.properties().sharedMemPerBlockOptin) - kReserve;
  const int64_t others = PlaneBytes(work.matmul) + sum_bytes + scale_bytes + kReserve;
  const int64_t ring = (kHalf - others >= kLeastRing ? std::min(kHalf, most) : most) - others;
  // A few stages at least, of up to kMostStageUnits; no more than there are chunks.
  int64_t chunks = CeilDivide(share, kMostStageUnits);
  while (chunks < share && ring / (shape.warps * CeilDivide(share, chunks) * kUnitBytes) < 3) ++chunks;
  const int64_t stage_units = CeilDivide(share, chunks), stage_bytes = stage_units * kUnitBytes;
  const int64_t stages = std::clamp<int64_t>(ring / (shape.warps * stage_bytes), 1,
                                             block_tiles * matrices * CeilDivide(share, stage_units));
  shape.stage_units = static_cast<int>(stage_units);
  shape.stages = static_cast<int>(std::min<int64_t>(stages, kReserve / 8 / shape.warps));
  shape.ring = static_cast<int>(CeilDivide(shape.warps * shape.stages * 8, 128) * 128);
  shape.planes = shape.ring + static_cast<int>(shape.warps * shape.stages * stage_bytes);
  shape.sums = shape.planes + static_cast<int>(PlaneBytes(work.matmul));
  shape.scales = shape.sums + static_cast<int>(sum_bytes);
  shape.bytes = shape.scales + static_cast<int>(scale_bytes);
  return shape;
}

template <int kTokens, int kMatrices>
void LaunchDecode(CudaBackend& backend, const DecodeWork& work) {
  const auto kernel = DecodeKernel<kTokens, kMatrices>;
  const size_t bytes = static_cast<size_t>(work.shape.bytes);
  AllowSharedMemory(kernel, bytes);
  Launch(backend.launch_stream(), kernel,
         {dim3(static_cast<unsigned>(work.shape.blocks)),
          dim3(static_cast<unsigned>(work.shape.warps * kWarp)), bytes},
         work);
}

}  // namespace

bool TernaryDecodeFits(const CudaBackend& backend, const MatmulWork& work) {
  return work.tokens <= kDecodeTokens &&
         2 * PlaneBytes(work) <= static_cast<int64_t>(backend.properties().sharedMemPerBlockOptin) + kReserve;
}

void TernaryDecode(CudaBackend& backend, const RowsWork& work, Epilogue epilogue) {
  const DecodeWork decode{work, epilogue, ShapeOf(backend, work)};
  ForDecodeTokens(work.matmul.tokens, [&](auto tokens) {
    if (work.matrices() == 2) return LaunchDecode<tokens(), 2>(backend, decode);
    LaunchDecode<tokens(), 1>(backend, decode);
  });
}

}  // namespace ternion::cuda
