// A ReLU^2 unit of one token: of `up` only what an open gate lets through is read. As TernaryDecode, by binary tensor cores
// on bit planes, each warp with a share of the inputs and a ring of its own; but a ring carries the gate's tiles ahead of
// up's. When all warps have added to a tile's gates, which of them are positive is known, and of the tile of `up` only the
// 64 bytes of outputs g and g + 8 where one of the two is. Where gates are ReLU^2's 29 %, that is half of `up`. The lead
// keeps reading while the sums come together. Bound by reading the weights, which all blocks read together from the first
// tile to the last.
#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ternary_decode.cuh"
#include "kernels/cuda/ternary_division.cuh"
#include "kernels/cuda/ternary_epilogue.cuh"
#include "kernels/cuda/ternary_mma.cuh"
#include "kernels/cuda/ternary_pipeline.cuh"
#include "kernels/cuda/ternary_sparse.h"

namespace ternion::cuda {
namespace {

constexpr unsigned kAllPairs = 0xffu;
constexpr int kUp = 1;  // the matrices: the gate is 0

// The launch, and where things lie in shared memory, in bytes: the rings' barriers first.
struct GatedShape {
  int blocks;
  int warps;
  Division tiles;     // among the blocks, in turns
  Division units;     // among the warps
  int tile_units;     // of all warps
  int stage_units;    // the most that a warp has of a tile
  int stages;         // of a warp; no more than a block has tiles
  int lead;           // how many tiles the gate is ahead, at least `stages`
  int tile_barriers;  // [tiles]: the gates are summed
  int ring;           // [warps][stages][stage_units] units
  int planes;         // [units][kPlaneWords]
  int sums;           // [2][tiles][16]
  int scales;         // [2][tiles][16], then the row's
  int bytes;
};

struct GatedWork {
  RowsWork rows;
  GatedShape shape;
};

// What a block has in shared memory.
class Block {
 public:
  __device__ Block(const GatedWork& work, const Part& tiles) : work_(work), tiles_(tiles) {}

  __device__ int* sums(int matrix, int tile) const { return At<int>(work_.shape.sums, matrix, tile); }
  __device__ float* scales(int matrix, int tile) const { return At<float>(work_.shape.scales, matrix, tile); }
  __device__ float* row_scale() const { return scales(2, 0); }
  __device__ uint64_t* gates_summed(int tile) const {
    return reinterpret_cast<uint64_t*>(DynamicShared() + work_.shape.tile_barriers) + tile;
  }
  __device__ uint32_t* planes(int unit) const {
    return reinterpret_cast<uint32_t*>(DynamicShared() + work_.shape.planes) + unit * kPlaneWords;
  }
  // The matrices' tile that is the block's i-th.
  __device__ int64_t tile(int i) const { return blockIdx.x + int64_t{i} * work_.shape.blocks; }
  // The output that is row `row` of the block, counted over its tiles.
  __device__ int64_t output(int row) const {
    return tile(row / kTileOutputs) * kTileOutputs + row % kTileOutputs;
  }
  // What the matrix gives for that row.
  __device__ float f(int matrix, int row) const {
    return Dequantized(sums(matrix, 0)[row], *row_scale(), scales(matrix, 0)[row]);
  }

 private:
  template <typename T>
  __device__ T* At(int place, int matrix, int tile) const {
    return reinterpret_cast<T*>(DynamicShared() + place) + (matrix * tiles_.count + tile) * kTileOutputs;
  }

  const GatedWork& work_;
  const Part& tiles_;
};

// Tiles in the order of use: `lead` of the gate, then up and gate in turns.
class Turns {
 public:
  __device__ Turns(int tiles, int lead) : tiles_(tiles), lead_(lead) {}
  __device__ bool over() const { return ups_ == tiles_; }
  __device__ bool gate() const { return gates_ < tiles_ && gates_ < lead_ + ups_; }
  __device__ int tile() const { return gate() ? gates_ : ups_; }
  __device__ void Next() { gate() ? ++gates_ : ++ups_; }

 private:
  const int tiles_;
  const int lead_;
  int gates_ = 0;
  int ups_ = 0;
};

// A warp's share of its block's weights, in that order; a stage holds its share of a tile. Stages of closed pairs keep
// what lay there: nothing reads their sums.
class GatedRing {
 public:
  __device__ GatedRing(const GatedWork& work, const Block& block, const Part& tiles, const Part& units)
      : work_(work), block_(block), tiles_(tiles), units_(units), next_(tiles.count, work.shape.lead) {
    barriers_ = reinterpret_cast<uint64_t*>(DynamicShared()) + WarpIndex() * work.shape.stages;
    ring_ = DynamicShared() + work.shape.ring +
            WarpIndex() * work.shape.stages * work.shape.stage_units * kUnitBytes;
    if (Lane() == 0) {
#pragma unroll 1
      for (int i = 0; i < work.shape.stages; ++i) InitBarrier(barriers_ + i, kWarp);
      PublishStages();
    }
    __syncwarp();
    // All of the gate's, one after the other: what the kernels before still have to read must not wait behind all of it.
#pragma unroll 1
    for (int i = 0; i < work.shape.stages; ++i) {
      if (i > 0) WaitStage(barriers_ + i - 1, 0);
      Fill(i);
    }
  }

  // The next share has come: units [unit][plane][lane].
  __device__ const uint4* Wait() {
    WaitStage(barriers_ + stage_, parity_);
    return reinterpret_cast<const uint4*>(StageAt(stage_));
  }
  // The warp has read it and added what it gives.
  __device__ void Release() {
    __syncwarp();
    Fill(stage_);
    if (++stage_ == work_.shape.stages) stage_ = 0, parity_ ^= 1;
  }

 private:
  __device__ uint8_t* StageAt(int stage) const {
    return ring_ + stage * work_.shape.stage_units * kUnitBytes;
  }

  // While there is something left. A tile of `up` waits for its gates: the other warps need nothing of this one for them,
  // since its own sums are among them.
  __device__ void Fill(int stage) {
    if (next_.over()) return;
    const int tile = next_.tile();
    const int64_t unit = block_.tile(tile) * work_.shape.tile_units + units_.first;
    const uint8_t* weights = work_.rows.matmul.weights;
    unsigned open = kAllPairs;
    if (!next_.gate()) {
      weights = work_.rows.up_weights;
      open = OpenPairs(tile);
    }
    next_.Next();
    Copy(StageAt(stage), weights + unit * kUnitBytes, open, barriers_ + stage);
  }

  // Bit g: the gate of output g or g + 8 of the tile is positive.
  __device__ unsigned OpenPairs(int tile) const {
    WaitStage(block_.gates_summed(tile), 0);
    const unsigned open =
        __ballot_sync(kAllLanes, block_.f(0, tile * kTileOutputs + Lane() % kTileOutputs) > 0);
    return (open | open >> 8) & kAllPairs;
  }

  // Every lane arrives at the barrier, when it has copied what it copies itself.
  __device__ void Copy(uint8_t* to, const uint8_t* from, unsigned open, uint64_t* barrier) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (open == kAllPairs) {
      if (Lane() == 0) {
        StartCopy(to, from, static_cast<uint32_t>(units_.count * kUnitBytes), barrier);
      } else {
        Arrive(barrier);
      }
      return;
    }
#endif
    if ((open >> Lane() / 4 & 1) != 0) {
      const uint32_t address = SharedAddress(to) + static_cast<uint32_t>(Lane()) * 16;
      const uint8_t* const source = from + Lane() * 16;
#pragma unroll 4
      for (int i = 0; i < units_.count * 2; ++i) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address + i * kPlaneBytes),
                     "l"(source + i * kPlaneBytes)
                     : "memory");
      }
    }
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(SharedAddress(barrier)) : "memory");
  }

  const GatedWork& work_;
  const Block& block_;
  const Part tiles_;
  const Part units_;
  uint64_t* barriers_;
  uint8_t* ring_;
  Turns next_;     // to be filled
  int stage_ = 0;  // read next
  uint32_t parity_ = 0;
};

// The planes of the warp's units and the sum of their codes, in every lane. A lane takes 32 neighbouring inputs.
__device__ __forceinline__ int MakePlanes(const MatmulWork& matmul, const Block& block, const Part& units) {
  constexpr int kRounds = 2;  // whose loads are on their way together
  const int inputs = static_cast<int>(matmul.inputs), groups = units.count * kPlanes;
  const bool aligned = inputs % 16 == 0 && reinterpret_cast<uintptr_t>(matmul.codes) % 16 == 0;
  int code_sum = 0;
  for (int first = Lane(); first < groups; first += kRounds * kWarp) {
    uint32_t words[kRounds][kPlanes];
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const int group = first + r * kWarp;
      if (group >= groups) break;
      LoadCodes(matmul.codes, units.first * kUnitInputs + group * 32, inputs, aligned, words[r]);
    }
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const int group = first + r * kWarp, unit = group / kPlanes, half = group / 4 % 2, q = group % 4;
      if (group >= groups) break;
#pragma unroll
      for (int i = 0; i < kPlanes; ++i) {
        code_sum = __dp4a(static_cast<int>(words[r][i]), 0x01010101, code_sum);
      }
      TransposeBits(words[r]);
      uint32_t* const planes = block.planes(units.first + unit) + half;
#pragma unroll
      for (int plane = 0; plane < kPlanes; ++plane) {
        planes[2 * PlanePlace(unit, 4 * plane + q)] = words[r][plane];
      }
    }
  }
  __syncwarp();
  return WarpSum(code_sum);
}

// Adds the warp's share of a tile to its sums.
__device__ __forceinline__ void AddTile(const int (&counts)[2][4], int code_sum, int* sums) {
  const int g = Lane() / 4, q = Lane() % 4;
  const int sum = TileSum(counts);
  if (q < 2) atomicAdd(sums + g + 8 * q, sum - code_sum);
}

// The warp's share of every tile of the block.
__device__ __forceinline__ void Multiply(const GatedWork& work, const Block& block, const Part& tiles,
                                         const Part& units, int code_sum, GatedRing& ring) {
  for (Turns turn(tiles.count, work.shape.lead); !turn.over(); turn.Next()) {
    const bool gate = turn.gate();
    const int tile = turn.tile();
    int counts[2][4] = {};
    const uint4* const weights = ring.Wait() + Lane();
#pragma unroll 2
    for (int u = 0; u < units.count; ++u) {
      const uint4 plane0 = weights[u * 2 * kWarp], plane1 = weights[u * 2 * kWarp + kWarp];
      const uint2 code = reinterpret_cast<const uint2*>(block.planes(units.first + u))[PlanePlace(u, Lane())];
      BinaryMma(plane0, code, counts[0]);
      BinaryMma(plane1, code, counts[1]);
    }
    AddTile(counts, code_sum, block.sums(gate ? 0 : kUp, tile));
    if (gate) {
      __syncwarp();
      if (Lane() == 0) ArriveAt(block.gates_summed(tile));
    }
    ring.Release();
  }
}

// The weights' scales are on their way; outputs beyond the last have closed gates.
__device__ __forceinline__ void FetchScales(const RowsWork& rows, const Block& block, int columns) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += static_cast<int>(blockDim.x)) {
    const int64_t output = block.output(i);
    float* const gate = block.scales(0, 0) + i;
    float* const up = block.scales(kUp, 0) + i;
    if (output < rows.matmul.outputs) {
      __pipeline_memcpy_async(gate, rows.matmul.weight_scale + output, sizeof(float));
      __pipeline_memcpy_async(up, rows.up_scale + output, sizeof(float));
    } else {
      *gate = *up = 0;
    }
  }
  __pipeline_commit();
}

__global__ void __launch_bounds__(kMostShares* kWarp, 2) GatedKernel(const __grid_constant__ GatedWork work) {
  StartNext();
  const Part tiles = work.shape.tiles.part(static_cast<int>(blockIdx.x));
  const Part units = work.shape.units.part(WarpIndex());
  const Block block(work, tiles);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int columns = tiles.count * kTileOutputs;
  FetchScales(work.rows, block, columns);  // behind the rings' weights they would take long
  GatedRing ring(work, block, tiles, units);
#pragma unroll 1
  for (int i = thread; i < 2 * columns; i += threads) block.sums(0, 0)[i] = 0;
#pragma unroll 1
  for (int i = thread; i < tiles.count; i += threads) InitBarrier(block.gates_summed(i), work.shape.warps);
  PublishStages();
  FindOperands(work.rows.matmul);
  WaitForPrevious();
  if (thread == 0) *block.row_scale() = *work.rows.matmul.row_scale;
  const int code_sum = MakePlanes(work.rows.matmul, block, units);
  __pipeline_wait_prior(0);
  __syncthreads();
  Multiply(work, block, tiles, units, code_sum, ring);
  __syncthreads();
#pragma unroll 1
  for (int i = thread; i < columns; i += threads) {
    const int64_t output = block.output(i);
    if (output >= work.rows.matmul.outputs) break;
    const float f[2] = {block.f(0, i), block.f(kUp, i)};
    work.rows.matmul.y[output] = Finished<2>(Epilogue::kGateRelu2, f, 0.0f);
  }
}

constexpr int64_t kMostTiles = 64;  // of a block
// Two blocks share a multiprocessor: while one waits for its last gates, the other reads.
constexpr int64_t kBlocksEach = 2;
constexpr int64_t kBlockBytes = 110 << 10;

GatedShape ShapeOf(const CudaBackend& backend, const MatmulWork& work) {
  const int64_t tiles = Tiles(work.outputs), units = Units(work.inputs);
  GatedShape shape = {};
  shape.warps = WarpsThatShare(units);
  const int64_t blocks = std::min(tiles, kBlocksEach * backend.multiprocessors());
  shape.blocks = static_cast<int>(std::max(blocks, CeilDivide(tiles, kMostTiles)));
  shape.tiles = Division::Of(tiles, shape.blocks);
  shape.units = Division::Of(units, shape.warps);
  shape.tile_units = static_cast<int>(units);
  shape.stage_units = shape.units.most();
  const int block_tiles = shape.tiles.most();
  const int64_t stage_bytes = int64_t{shape.warps} * (shape.stage_units * kUnitBytes + 8);
  const int64_t plane_bytes = units * kUnitInputs, row_bytes = block_tiles * kTileOutputs * 4;
  const int64_t others = plane_bytes + 4 * row_bytes + block_tiles * 8 + 256;
  const int64_t most = static_cast<int64_t>(backend.properties().sharedMemPerBlockOptin);
  shape.stages = static_cast<int>(
      std::clamp<int64_t>((std::min(kBlockBytes, most) - others) / stage_bytes, 0, shape.tiles.each));
  shape.lead = std::min(block_tiles, shape.stages + 1);
  shape.tile_barriers = shape.warps * shape.stages * 8;
  shape.ring = static_cast<int>(CeilDivide(shape.tile_barriers + block_tiles * 8, 128) * 128);
  shape.planes = shape.ring + shape.warps * shape.stages * shape.stage_units * kUnitBytes;
  shape.sums = shape.planes + static_cast<int>(plane_bytes);
  shape.scales = shape.sums + static_cast<int>(2 * row_bytes);
  shape.bytes = shape.scales + static_cast<int>(2 * row_bytes) + 16;
  return shape;
}

}  // namespace

bool TernaryGatedFits(const CudaBackend& backend, const MatmulWork& work) {
  return work.tokens == 1 && ShapeOf(backend, work).stages > 0;
}

void TernaryGated(CudaBackend& backend, const RowsWork& rows) {
  const GatedWork work{rows, ShapeOf(backend, rows.matmul)};
  const size_t bytes = static_cast<size_t>(work.shape.bytes);
  AllowSharedMemory(GatedKernel, bytes);
  Launch(backend.launch_stream(), GatedKernel,
         {dim3(static_cast<unsigned>(work.shape.blocks)),
          dim3(static_cast<unsigned>(work.shape.warps * kWarp)), bytes},
         work);
}

}  // namespace ternion::cuda
