// The tokens that TernaryFew leaves, up to 64, by mma.m16n8k32 of unsigned weight codes and signed activation codes. A
// block takes a group of outputs and, where there are few groups, a slice of the inputs. Its eight computing warps stand
// in row_warps rows and k_warps columns: a column multiplies its units of every step, a row two tiles of 16 outputs (of a
// gated unit: the gate's and the up matrix's of the same outputs) with all tokens. Four more warps keep a ring of stages
// filled with the steps' weights and arranged codes; the first weights are on their way before the kernels before this
// one are done.
//
// Up to 32 tokens are bound about as much by reading the weights as by the tensor cores, more by the latter.
#include <algorithm>

#include "kernels/cuda/ternary_batch.cuh"
#include "kernels/cuda/ternary_epilogue.cuh"
#include "kernels/cuda/ternary_mma.cuh"

namespace ternion::cuda {
namespace {

using namespace batch;  // NOLINT: this file's own

// Of a lane's plane words: bits 2 f, 2 f + 1 of each byte are the code of the byte's plane bit 2 f.
__device__ __forceinline__ uint32_t EvenCodes(uint32_t plane0, uint32_t plane1) {
  return (plane0 & 0x55555555u) | (plane1 << 1 & 0xaaaaaaaau);
}
// The same of plane bit 2 f + 1.
__device__ __forceinline__ uint32_t OddCodes(uint32_t plane0, uint32_t plane1) {
  return (plane0 >> 1 & 0x55555555u) | (plane1 & 0xaaaaaaaau);
}

// A warp's sums of its two tiles.
template <int kTokenTiles>
struct Sums {
  int v[kWarpTiles][kTokenTiles][4] = {};

  __device__ void AddUnit(const uint8_t* weights, int tile_bytes, const uint8_t* codes);
};

// weights [plane][lane] of a unit of the first tile, the second's tile_bytes later; codes: the unit's two chunks.
template <int kTokenTiles>
__device__ __forceinline__ void Sums<kTokenTiles>::AddUnit(const uint8_t* weights, int tile_bytes,
                                                           const uint8_t* codes) {
  constexpr int kChunk = kTokenTiles * kTileTokens * kChunkBytes;
  const int row = Lane() % 8, matrix = Lane() / 8;
  uint32_t even[kWarpTiles][4], odd[kWarpTiles][4];
#pragma unroll
  for (int m = 0; m < kWarpTiles; ++m) {
    const uint4* const planes = reinterpret_cast<const uint4*>(weights + m * tile_bytes) + Lane();
    const uint4 low = planes[0], high = planes[kWarp];
    even[m][0] = EvenCodes(low.x, high.x), odd[m][0] = OddCodes(low.x, high.x);
    even[m][1] = EvenCodes(low.y, high.y), odd[m][1] = OddCodes(low.y, high.y);
    even[m][2] = EvenCodes(low.z, high.z), odd[m][2] = OddCodes(low.z, high.z);
    even[m][3] = EvenCodes(low.w, high.w), odd[m][3] = OddCodes(low.w, high.w);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint8_t* const pieces = codes + row * kChunkBytes + ((2 * matrix + half) ^ row) * 16;
#pragma unroll
    for (int chunk = 0; chunk < 2; ++chunk) {
      uint32_t a[2][kWarpTiles][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int f = 2 * chunk + i;
#pragma unroll
        for (int m = 0; m < kWarpTiles; ++m) {
          const uint32_t words[4] = {even[m][2 * half], even[m][2 * half + 1], odd[m][2 * half],
                                     odd[m][2 * half + 1]};
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            a[i][m][e] = words[e] >> 2 * f & 0x03030303u;
          }
        }
      }
#pragma unroll
      for (int n = 0; n < kTokenTiles; ++n) {
        uint32_t b[4];
        LoadMatrices(pieces + chunk * kChunk + n * kTileTokens * kChunkBytes, b);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
          for (int m = 0; m < kWarpTiles; ++m) {
            ByteMma(a[i][m], b[2 * i], b[2 * i + 1], v[m][n]);
          }
        }
      }
    }
  }
}

// A computing warp's part of all steps.
template <int kTokenTiles>
__device__ __forceinline__ void Consume(const BatchShape& shape, const Steps& steps,
                                        const Stages<kTokenTiles>& stages, Sums<kTokenTiles>& sums) {
  const int row_warp = WarpIndex() % shape.row_warps,
            first = WarpIndex() / shape.row_warps * shape.warp_units;
  const int count = steps.count();
  int stage = 0;
  uint32_t parity = 0;
  for (int step = 0; step < count; ++step) {
    WaitStage(stages.full(stage), parity);
    const int end = min(first + shape.warp_units, steps.units(step));
#pragma unroll 1
    for (int unit = first; unit < end; ++unit) {
      sums.AddUnit(stages.weights(stage, kWarpTiles * row_warp) + unit * kUnitBytes, stages.tile_bytes(),
                   stages.codes(stage) + unit * Stages<kTokenTiles>::kUnitCodes);
    }
    __syncwarp();
    if (Lane() == 0) ArriveAt(stages.empty(stage));
    if (++stage == shape.stages) stage = 0, parity ^= 1;
  }
}

// The group's sums meet in shared memory as [tokens][2 * row_warps tiles of 16 outputs], rows four words longer so that
// the lanes of a warp write to different banks.
template <int kTokenTiles>
class GroupSums {
 public:
  static constexpr int kTokens = kTokenTiles * kTileTokens;

  __device__ explicit GroupSums(int row_warps)
      : pitch_(PitchOf(row_warps)), sums_(reinterpret_cast<int*>(DynamicShared() + kBarrierBytes)) {}
  static __host__ __device__ int PitchOf(int row_warps) { return row_warps * kWarpTiles * kTileOutputs + 4; }

  __device__ int* row(int token) const { return sums_ + token * pitch_; }
  // [tokens], behind the rows.
  __device__ int* code_sums() const { return row(kTokens); }

  // Puts the warp's sums, or adds them to what another put.
  template <bool kAdd>
  __device__ void Give(const Sums<kTokenTiles>& sums, int row_warp) const {
    int* const first = row(Lane() % 4 * 2) + row_warp * kWarpTiles * kTileOutputs + Lane() / 4;
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
#pragma unroll
      for (int m = 0; m < kWarpTiles; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          int* const to = first + (n * kTileTokens + i % 2) * pitch_ + m * kTileOutputs + i / 2 * 8;
          if constexpr (kAdd) {
            atomicAdd(to, sums.v[m][n][i]);
          } else {
            *to = sums.v[m][n][i];
          }
        }
      }
    }
  }

 private:
  const int pitch_;
  int* const sums_;
};

template <int kMatrices>
__device__ __forceinline__ void StoreOutput(const RowsWork& rows, Epilogue epilogue, int token,
                                            int64_t output, const int (&sums)[kMatrices]) {
  const MatmulWork& matmul = rows.matmul;
  const int64_t place = token * matmul.outputs + output;
  if (epilogue == Epilogue::kSums) {
    matmul.sums[place] = sums[0];
    return;
  }
  const float row_scale = matmul.row_scale[token];
  float f[kMatrices];
  f[0] = Dequantized(sums[0], row_scale, matmul.weight_scale[output]);
  if constexpr (kMatrices == 2) f[1] = Dequantized(sums[1], row_scale, rows.up_scale[output]);
  matmul.y[place] = Finished<kMatrices>(epilogue, f, Reads<kMatrices>(epilogue) ? matmul.y[place] : 0.0f);
}

// The group's outputs of its slice, by all threads.
template <int kTokenTiles, int kMatrices>
__device__ __forceinline__ void StoreGroup(const BatchWork& work, const GroupSums<kTokenTiles>& sums) {
  const MatmulWork& matmul = work.rows.matmul;
  const int columns = work.shape.row_warps * kWarpTiles / kMatrices * kTileOutputs;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * columns;
  const int tokens = static_cast<int>(matmul.tokens);
  for (int i = static_cast<int>(threadIdx.x); i < tokens * columns; i += kThreads) {
    const int token = i / columns, column = i % columns;
    if (first + column >= matmul.outputs) continue;
    const int code_sum = blockIdx.y == 0 ? sums.code_sums()[token] : 0;
    const int* const from =
        sums.row(token) + column / kTileOutputs * kMatrices * kTileOutputs + column % kTileOutputs;
    int v[kMatrices];
#pragma unroll
    for (int m = 0; m < kMatrices; ++m) v[m] = from[m * kTileOutputs] - code_sum;
    if (work.parts == nullptr) {
      StoreOutput<kMatrices>(work.rows, work.epilogue, token, first + column, v);
      continue;
    }
#pragma unroll
    for (int m = 0; m < kMatrices; ++m) {
      work.parts[((static_cast<int64_t>(blockIdx.y) * kMatrices + m) * tokens + token) * matmul.outputs +
                 first + column] = v[m];
    }
  }
}

// Block (x, y): group x of the outputs, slice y of the inputs.
template <int kTokenTiles, int kMatrices>
__global__ void __launch_bounds__(kThreads, 1) BatchKernel(const __grid_constant__ BatchWork work) {
  StartNext();
  const bool produces = WarpIndex() >= kWarps;
  const Stages<kTokenTiles> stages(work.shape);
  const int units = static_cast<int>(CeilDivide(work.rows.matmul.inputs, kUnitInputs));
  const int first = static_cast<int>(blockIdx.y) * work.shape.slice_units;
  const Steps steps{first, min(first + work.shape.slice_units, units), work.shape.stage_units()};
  if (WarpIndex() == kWarps) stages.Make(work.shape.stages);
  __syncthreads();
  Sums<kTokenTiles> sums;
  if (produces) {
    Producer<kTokenTiles, kMatrices>(work, steps, stages).Run(work.shape.stages);
  } else {
    WaitForPrevious();
    Consume<kTokenTiles>(work.shape, steps, stages, sums);
  }
  const int row_warp = WarpIndex() % work.shape.row_warps, k_warp = WarpIndex() / work.shape.row_warps;
  const GroupSums<kTokenTiles> group(work.shape.row_warps);
  __syncthreads();  // the stages are free
  if (!produces && k_warp == 0) group.template Give<false>(sums, row_warp);
  if (WarpIndex() == kWarps) {
    for (int t = Lane(); t < GroupSums<kTokenTiles>::kTokens; t += kWarp) {
      int sum = 0;
      for (int part = 0; part < work.codes.sum_parts; ++part)
        sum += work.codes.sums[part * work.codes.tokens + t];
      group.code_sums()[t] = sum;
    }
  }
  __syncthreads();
  if (!produces && k_warp > 0) group.template Give<true>(sums, row_warp);
  __syncthreads();
  StoreGroup<kTokenTiles, kMatrices>(work, group);
}

// Adds the slices' sums.
template <int kMatrices>
__global__ void __launch_bounds__(256) FinishKernel(const __grid_constant__ BatchWork work) {
  StartNext();
  WaitForPrevious();
  const MatmulWork& matmul = work.rows.matmul;
  const int64_t output = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int token = static_cast<int>(blockIdx.y);
  if (output >= matmul.outputs) return;
  int sums[kMatrices] = {};
  for (int slice = 0; slice < work.shape.slices; ++slice) {
#pragma unroll
    for (int m = 0; m < kMatrices; ++m) {
      sums[m] += work.parts[((static_cast<int64_t>(slice) * kMatrices + m) * matmul.tokens + token) *
                                matmul.outputs +
                            output];
    }
  }
  StoreOutput<kMatrices>(work.rows, work.epilogue, token, output, sums);
}

constexpr int64_t kReserve = 1024;  // of a block's shared memory, the driver's
constexpr int64_t kWantedRing = 160 << 10;
constexpr int64_t kLeastStages = 2;
// A copy of one unit of a tile would be too small.
constexpr int kLeastStageUnits = 2;

template <int kTokenTiles>
int64_t StageBytes(const BatchShape& shape) {
  return shape.stage_units() *
         (shape.tiles() * int64_t{kUnitBytes} + 2 * kTokenTiles * kTileTokens * kChunkBytes);
}

// About how long a matmul takes so cut, in ns on an H100: what a block reads from L2 or computes, times rounds.
template <int kTokenTiles>
double Nanoseconds(const BatchShape& shape, int processors) {
  constexpr double kBytesPerNs = 5000, kMostBytesPerNs = 60, kMmaNs = 3.4, kBlockNs = 500, kFinishNs = 2000;
  const double blocks = shape.groups * shape.slices;
  const double rounds = static_cast<double>(CeilDivide(shape.groups * shape.slices, processors));
  const double bytes =
      shape.slice_units * static_cast<double>(StageBytes<kTokenTiles>(shape)) / shape.stage_units();
  const double reading =
      bytes / std::min(kMostBytesPerNs, kBytesPerNs / std::min<double>(blocks, processors));
  const double warp_units = static_cast<double>(CeilDivide(shape.slice_units, shape.k_warps));
  const double computing = warp_units * kWarps / 4 * kWarpTiles * 8 * kTokenTiles * kMmaNs;
  return rounds * (std::max(reading, computing) + kBlockNs) + (shape.slices > 1 ? kFinishNs : 0);
}

template <int kTokenTiles>
BatchShape ShapeOf(const CudaBackend& backend, const RowsWork& work) {
  const int64_t tiles = Tiles(work.matmul.outputs) * work.matrices(), units = Units(work.matmul.inputs);
  const int64_t most =
      static_cast<int64_t>(backend.properties().sharedMemPerBlockOptin) - kReserve - kBarrierBytes;
  BatchShape best = {};
  double best_ns = 0;
  for (int k_warps = 1; k_warps <= kWarps; k_warps *= 2) {
    BatchShape shape = {};
    shape.k_warps = k_warps;
    shape.row_warps = kWarps / k_warps;
    shape.warp_units = std::max(1, kLeastStageUnits / k_warps);
    shape.groups = static_cast<int>(CeilDivide(tiles, shape.tiles()));
    const int64_t stage_bytes = StageBytes<kTokenTiles>(shape);
    if (most / stage_bytes < kLeastStages) continue;
    shape.stages = static_cast<int>(
        std::clamp<int64_t>(std::min(kWantedRing, most) / stage_bytes, kLeastStages, kMostStages));
    for (int64_t slices : {int64_t{1}, backend.multiprocessors() / int64_t{shape.groups}}) {
      slices = std::clamp<int64_t>(slices, 1, units);
      shape.slice_units = static_cast<int>(CeilDivide(units, slices));
      shape.slices = static_cast<int>(CeilDivide(units, shape.slice_units));
      const double ns = Nanoseconds<kTokenTiles>(shape, backend.multiprocessors());
      if (best.groups == 0 || ns < best_ns) best = shape, best_ns = ns;
    }
  }
  return best;
}

template <int kTokenTiles, int kMatrices>
void LaunchBatch(CudaBackend& backend, const RowsWork& rows, Epilogue epilogue) {
  const MatmulWork& matmul = rows.matmul;
  BatchWork work{rows, epilogue, ShapeOf<kTokenTiles>(backend, rows), {}, nullptr};
  const BatchShape& shape = work.shape;
  work.codes = ArrangeCodes(backend, matmul.codes, matmul.tokens, matmul.inputs, kTokenTiles * kTileTokens);
  if (shape.slices > 1) {
    work.parts =
        backend.Scratch<int32_t>(Purpose::kSums, shape.slices * kMatrices * matmul.tokens * matmul.outputs);
  }
  const auto kernel = BatchKernel<kTokenTiles, kMatrices>;
  const int64_t ring = shape.stages * StageBytes<kTokenTiles>(shape);
  const int64_t sums = (GroupSums<kTokenTiles>::PitchOf(shape.row_warps) + 1) * kTokenTiles * kTileTokens * 4;
  const size_t bytes = static_cast<size_t>(kBarrierBytes + std::max(ring, sums));
  AllowSharedMemory(kernel, bytes);
  Launch(
      backend.launch_stream(), kernel,
      {dim3(static_cast<unsigned>(shape.groups), static_cast<unsigned>(shape.slices)), dim3(kThreads), bytes},
      work);
  if (work.parts == nullptr) return;
  Launch(backend.launch_stream(), FinishKernel<kMatrices>,
         {dim3(static_cast<unsigned>(CeilDivide(matmul.outputs, 256)), static_cast<unsigned>(matmul.tokens)),
          dim3(256)},
         work);
}

template <int kMatrices>
void LaunchTokens(CudaBackend& backend, const RowsWork& work, Epilogue epilogue) {
  if (work.matmul.tokens <= 32) return LaunchBatch<4, kMatrices>(backend, work, epilogue);
  LaunchBatch<8, kMatrices>(backend, work, epilogue);
}

}  // namespace

void TernaryBatch(CudaBackend& backend, const RowsWork& work, Epilogue epilogue) {
  for (int64_t begin = 0; begin < work.matmul.tokens; begin += kBatchTokens) {
    RowsWork part = work;
    MatmulWork& matmul = part.matmul;
    matmul.tokens = std::min(kBatchTokens, work.matmul.tokens - begin);
    matmul.codes += begin * matmul.inputs;
    if (matmul.sums != nullptr) matmul.sums += begin * matmul.outputs;
    if (matmul.y != nullptr) matmul.y += begin * matmul.outputs;
    if (matmul.row_scale != nullptr) matmul.row_scale += begin;
    if (work.matrices() == 2) {
      LaunchTokens<2>(backend, part, epilogue);
    } else {
      LaunchTokens<1>(backend, part, epilogue);
    }
  }
}

}  // namespace ternion::cuda
