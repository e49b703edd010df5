// The matmul of many tokens on Hopper. Two warpgroups of a block share a tile of outputs x tokens; wgmma takes the weights
// from registers, where each lane unpacks the two bit planes of its own outputs, and the tokens' codes from shared memory.
// Those come by bulk copies, a chunk of 128 inputs at a time, into a ring of stages.
//
// A large matmul is computed by blocks that stay, tile after tile of 128 outputs x up to 256 tokens. A third warpgroup
// fills the ring and goes on with the next tile while this one is stored; the two blocks of a cluster take the same
// tokens, so that each brings half of them to both. The mainloop then takes what the tensor cores take: 4,096
// multiply-adds a cycle. The number of tokens of a tile is chosen so that the last round of tiles is full.
//
// A small matmul has small tiles, and divides its inputs among the blocks of a cluster, whose sums are added through the
// cluster's memory.
#include "kernels/cuda/ternary_prefill.h"

#include <algorithm>

#include "kernels/cuda/prefill_store.cuh"
#include "kernels/cuda/prefill_tile.cuh"
#include "kernels/cuda/prefill_wide_store.cuh"

namespace ternion::cuda::prefill {
namespace {

using Medium = Tile<128, 6, 2>;
using Small = Tile<64, 12, 2>;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// sums = codes . W^T with codes of weights, over the block's units. Each group of wgmmas is two steps of 32 inputs; while
// it runs, the next group's A registers are made.
template <typename Tile>
__device__ __forceinline__ void Multiply(WeightStream& weights, Ring<Tile>& ring, int units,
                                         int32_t (&sums)[Tile::kTokens / 2]) {
  uint32_t even[4], odd[4];
  uint32_t a[2][2][4];  // [group][step]
  for (int unit = 0; unit < units; ++unit) {
    weights.Next(even, odd);
#pragma unroll
    for (int chunk = 0; chunk < 2; ++chunk) {
      uint64_t tokens = 0;
#pragma unroll
      for (int group = 0; group < 2; ++group) {
        const int shift = 2 * (2 * chunk + group);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          a[group][0][e] = even[e] >> shift & 0x03030303u;
          a[group][1][e] = odd[e] >> shift & 0x03030303u;
        }
        if (group == 0) tokens = ring.Wait();
        WgmmaFence();
#pragma unroll
        for (int step = 0; step < 2; ++step) {
          Wgmma<Tile::kTokens>::Run(sums, a[group][step], tokens + (2 * group + step) * (kStepBytes / 16), 1);
        }
        WgmmaCommit();
        WgmmaWait<1>();
        if (group == 0) ring.ReleasePrevious();
      }
      ring.Advance();
    }
  }
  WgmmaWait<0>();
  WgmmaResults(sums);
}

#endif

// Empty in builds for other architectures.
template <typename Tile>
__global__ void __launch_bounds__(kThreads, Tile::kBlocks)
    PrefillKernel(const __grid_constant__ Prefill prefill) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  StartNext();
  extern __shared__ char dynamic[];
  __shared__ SharedNumbers<Tile> numbers;
  char* const stages = dynamic + (-SharedAddress(dynamic) & (kSharedAlignment - 1));
  const Place place = FindPlace<Tile>(prefill);
  if (threadIdx.x == 0) {
    for (int i = 0; i < Tile::kStages; ++i) {
      InitBarrier(&numbers.full[i], 1);
      InitBarrier(&numbers.empty[i], kThreads / kWarp);
    }
    PublishBarriers();
  }
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  WeightStream weights(prefill.work, place.output + group * kGroupOutputs, place.unit_begin, place.unit_end);
  __syncthreads();
  WaitForPrevious();
  Ring<Tile> ring(prefill, place, numbers, stages);
  LoadNumbers(prefill, place, numbers);
  __syncwarp();
  int32_t sums[Tile::kTokens / 2] = {};
  Multiply<Tile>(weights, ring, static_cast<int>(place.unit_end - place.unit_begin), sums);
  StoreTile<Tile>(prefill, place, numbers, stages, sums);
#endif
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// One tile's sums = codes . W^T with codes of weights. Each group of wgmmas is a chunk, four steps of 32 inputs; while it
// runs, the next group's A registers are made. `next` and `next_output`: where the weights go on, if not null.
template <typename Tile>
__device__ __forceinline__ void MultiplyWide(int units, const uint8_t* next, int64_t next_output,
                                             WideWeights& weights, WideRing<Tile>& ring,
                                             int32_t (&sums)[Tile::kTokens / 2]) {
  uint32_t a[2][kSteps][4];
#pragma unroll 1
  for (int unit = 0; unit < units; ++unit) {
    uint32_t even[4], odd[4];
    weights.Take(even, odd);
    if (unit + 1 < units) {
      weights.FetchNext();
    } else if (next != nullptr) {
      weights.StartAt(next, next_output);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const int shift = 4 * half + (step & 2);
#pragma unroll
        for (int e = 0; e < 4; ++e) a[half][step][e] = (step & 1 ? odd[e] : even[e]) >> shift & 0x03030303u;
      }
      const uint64_t tokens = ring.Wait();
      WgmmaFence();
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        Wgmma<Tile::kTokens>::Run(sums, a[half][step], tokens + step * (kStepBytes / 16),
                                  half + step > 0 || unit > 0);
      }
      WgmmaCommit();
      WgmmaWait<1>();
      if (half > 0 || unit > 0) ring.template Release<1>();
      ring.Advance();
    }
  }
  WgmmaWait<0>();
  ring.template Release<1>();
  WgmmaResults(sums);
}

template <typename Tile>
__device__ __forceinline__ void ConsumeWide(const Wide& wide, WideShared<Tile>& shared, char* stages) {
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  int32_t* const slots = reinterpret_cast<int32_t*>(stages + Tile::kStages * Tile::kStageBytes) +
                         group * kPieceSlots * kPieceWords;
  const int units = static_cast<int>(CeilDivide(wide.work.inputs, kUnitInputs));
  WideWeights weights(wide.work);
  TileWalk<Tile> walk(wide);
  if (!walk.done()) weights.StartAt(walk.weights(), walk.output());
  WaitForPrevious();
  WideRing<Tile> ring(shared, stages);
  for (int tile = 0; !walk.done(); ++tile) {
    const int buffer = tile & 1;
    GroupWork work;
    work.place = {walk.output() + group * kGroupOutputs, walk.token(),
                  static_cast<int>(min(wide.work.tokens - walk.token(), int64_t{Tile::kTokens}))};
    const bool gate = wide.up_weights != nullptr && !walk.up();
    work.epilogue = gate ? Epilogue::kStore : wide.epilogue;
    work.weight_scale = walk.up() ? wide.up_scale : wide.work.weight_scale;
    work.numbers = shared.numbers[buffer];
    work.slots = slots;
    walk.Advance();
    int32_t sums[Tile::kTokens / 2];
    MultiplyWide<Tile>(units, walk.done() ? nullptr : walk.weights(), walk.output(), weights, ring, sums);
    WaitBarrier(&shared.numbers_full[buffer], tile >> 1 & 1);
    StoreGroup(wide, work, sums);
    __syncwarp();
    if (Lane() == 0) Arrive(&shared.numbers_empty[buffer]);
  }
}

#endif

// Empty in builds for other architectures.
template <typename Tile>
__global__ void __launch_bounds__(kWideThreads, 1) WideKernel(const __grid_constant__ Wide wide) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  StartNext();
  extern __shared__ char dynamic[];
  __shared__ WideShared<Tile> shared;
  char* const stages = dynamic + (-SharedAddress(dynamic) & (kSharedAlignment - 1));
  if (threadIdx.x == 0) {
    for (int i = 0; i < Tile::kStages; ++i) {
      InitBarrier(&shared.full[i], 1);
      InitBarrier(&shared.empty[i], Tile::kPair * kThreads / kWarp);
    }
    for (int i = 0; i < 2; ++i) {
      InitBarrier(&shared.numbers_full[i], 1);
      InitBarrier(&shared.numbers_empty[i], kThreads / kWarp);
    }
    PublishBarriers();
  }
  SyncClusterStart();
  constexpr int kChunkWarp = kThreads / kWarp, kNumbersWarp = kChunkWarp + 1;
  if (WarpIndex() >= kChunkWarp) {
    LowerRegisters<40>();
    WaitForPrevious();
    if (WarpIndex() == kChunkWarp && Lane() == 0) ChunkProducer<Tile>(wide, shared, stages).Run();
    if (WarpIndex() == kNumbersWarp) BringNumbers<Tile>(wide, shared);
  } else {
    RaiseRegisters<232>();
    ConsumeWide<Tile>(wide, shared, stages);
  }
#endif
}

// The operands of one or two matmuls, and how they are cut.
struct Task {
  const RowsWork* rows;
  Epilogue epilogue;
  int split;  // of small tiles: blocks of a cluster that share the inputs

  const MatmulWork& work() const { return rows->matmul; }
  float* out() const {
    return epilogue == Epilogue::kSums ? reinterpret_cast<float*>(work().sums) : work().y;
  }
  bool vectors() const { return work().outputs % 4 == 0 && reinterpret_cast<uintptr_t>(out()) % 16 == 0; }
};

template <typename Tile>
void LaunchTile(CudaBackend& backend, const Task& task) {
  const MatmulWork& work = task.work();
  const int64_t token_blocks = CeilDivide(work.tokens, Tile::kTokens);
  Prefill prefill = {};
  prefill.work = work;
  prefill.codes = ArrangeCodes(backend, work.codes, work.tokens, work.inputs, token_blocks * Tile::kTokens);
  prefill.epilogue = task.rows->matrices() == 2 ? Epilogue::kStore : task.epilogue;
  prefill.out = task.out();
  prefill.vectors = task.vectors();
  prefill.token_blocks = static_cast<int>(token_blocks);
  prefill.split = task.split;
  AllowSharedMemory(PrefillKernel<Tile>, Tile::kSharedBytes);
  const int64_t blocks = CeilDivide(work.outputs, Tile::kOutputs) * token_blocks * task.split;
  LaunchShape shape{dim3(static_cast<unsigned>(blocks)), dim3(kThreads), Tile::kSharedBytes};
  shape.cluster = task.split;
  Launch(backend.launch_stream(), PrefillKernel<Tile>, shape, prefill);
  if (task.rows->matrices() == 1) return;
  prefill.work.weights = task.rows->up_weights;
  prefill.work.weight_scale = task.rows->up_scale;
  prefill.epilogue = task.epilogue;
  Launch(backend.launch_stream(), PrefillKernel<Tile>, shape, prefill);
}

template <typename Tile>
void LaunchWide(CudaBackend& backend, const Task& task) {
  const MatmulWork& work = task.work();
  const int64_t token_blocks = CeilDivide(work.tokens, Tile::kTokens);
  Wide wide = {};
  wide.work = work;
  wide.up_weights = task.rows->up_weights;
  wide.up_scale = task.rows->up_scale;
  wide.codes = ArrangeCodes(backend, work.codes, work.tokens, work.inputs, token_blocks * Tile::kTokens);
  wide.epilogue = task.epilogue;
  wide.out = task.out();
  wide.vectors = task.vectors();
  wide.token_blocks = static_cast<int>(token_blocks);
  wide.items = static_cast<int>(CeilDivide(work.outputs, Tile::kItemOutputs) * token_blocks);
  AllowSharedMemory(WideKernel<Tile>, Tile::kSharedBytes);
  const int clusters = std::min(wide.items, backend.multiprocessors() / Tile::kPair);
  LaunchShape shape{dim3(static_cast<unsigned>(clusters * Tile::kPair)), dim3(kWideThreads),
                    Tile::kSharedBytes};
  shape.cluster = Tile::kPair;
  Launch(backend.launch_stream(), WideKernel<Tile>, shape, wide);
}

// The way that takes the fewest cycles of a multiprocessor, by a model.
class Planner {
 public:
  Planner(const RowsWork& rows, int multiprocessors)
      : work_(rows.matmul), matrices_(rows.matrices()), multiprocessors_(multiprocessors) {}

  // One tile of tokens: rounds of blocks, each its units and a fixed part (the first chunk's way, the stores).
  void ConsiderFewTokens(int split) {
    constexpr double kFixedCycles = 1500, kUnitCycles = 700;
    const int64_t blocks = CeilDivide(work_.outputs, Small::kOutputs) * split;
    const double rounds = static_cast<double>(CeilDivide(blocks, multiprocessors_));
    Take(LaunchTile<Small>, split, rounds * SplitCycles(kFixedCycles, kUnitCycles, split));
  }
  // Small tiles, where they are all there at once: latencies count, not the tensor cores.
  template <typename Tile>
  void Consider(double fixed_cycles, int split) {
    constexpr double kUnitCycles = 2000;
    const int64_t blocks =
        CeilDivide(work_.outputs, Tile::kOutputs) * CeilDivide(work_.tokens, Tile::kTokens) * split;
    if (blocks > int64_t{Tile::kBlocks} * multiprocessors_) return;
    Take(LaunchTile<Tile>, split, matrices_ * SplitCycles(fixed_cycles, kUnitCycles, split));
  }
  // Rounds of tiles, each its units and its stores.
  template <typename Tile>
  void ConsiderWide() {
    constexpr double kFixedCycles = 3000, kStoreCycles = 20, kUnitCycles = 8.1;  // the latter two for a token
    const int64_t items =
        CeilDivide(work_.outputs, Tile::kItemOutputs) * CeilDivide(work_.tokens, Tile::kTokens);
    const double tiles = static_cast<double>(CeilDivide(items, multiprocessors_ / Tile::kPair) * matrices_);
    const double token_cycles = kStoreCycles + kUnitCycles * static_cast<double>(Units(work_.inputs));
    Take(LaunchWide<Tile>, 1, kFixedCycles + tiles * token_cycles * Tile::kTokens);
  }

  void Run(CudaBackend& backend, const RowsWork& rows, Epilogue epilogue) const {
    launch_(backend, {&rows, epilogue, split_});
  }

 private:
  using LaunchFunction = void (*)(CudaBackend& backend, const Task& task);

  double SplitCycles(double fixed_cycles, double unit_cycles, int split) const {
    constexpr double kSplitCycles = 1000;
    return fixed_cycles + (split > 1 ? kSplitCycles : 0) +
           unit_cycles * static_cast<double>(CeilDivide(Units(work_.inputs), split));
  }
  void Take(LaunchFunction launch, int split, double cycles) {
    if (launch_ != nullptr && cycles >= cycles_) return;
    launch_ = launch;
    split_ = split;
    cycles_ = cycles;
  }

  const MatmulWork& work_;
  const int matrices_;
  const int multiprocessors_;
  LaunchFunction launch_ = nullptr;
  int split_ = 1;
  double cycles_ = 0;
};

Planner MakePlan(const RowsWork& rows, int multiprocessors) {
  const bool few_tokens = rows.matmul.tokens <= Small::kTokens;
  Planner planner(rows, multiprocessors);
  if (!few_tokens) {
    planner.ConsiderWide<WideTile<256>>();
    planner.ConsiderWide<WideTile<176>>();
    planner.ConsiderWide<WideTile<160>>();
    planner.ConsiderWide<WideTile<128>>();
  }
  for (int split = 1; split <= kMostSplit && split <= Units(rows.matmul.inputs); split *= 2) {
    if (few_tokens) {
      planner.ConsiderFewTokens(split);
    } else {
      planner.Consider<Medium>(16000, split);
      planner.Consider<Small>(5000, split);
    }
  }
  return planner;
}

// Whether the current device's kernel is the real one: an empty one has fewer registers than the sums take.
bool IsBuilt() {
  cudaFuncAttributes attributes;
  if (cudaFuncGetAttributes(&attributes, PrefillKernel<Medium>) != cudaSuccess) {
    cudaGetLastError();  // taken: there is no code for this device
    return false;
  }
  return attributes.numRegs > Medium::kTokens / 2;
}

}  // namespace
}  // namespace ternion::cuda::prefill

namespace ternion::cuda {

bool TernaryPrefillSupported(const cudaDeviceProp& properties) {
  if (properties.major != 9 || properties.minor != 0) return false;
  static const bool built = prefill::IsBuilt();
  return built;
}

void TernaryPrefill(CudaBackend& backend, const RowsWork& rows, Epilogue epilogue) {
  const MatmulWork& work = rows.matmul;
  if (work.tokens == 0 || work.outputs == 0) return;
  CHECK(work.inputs > 0 && work.codes != nullptr && work.weights != nullptr,
        "a matmul has codes and weights");
  CHECK(epilogue == Epilogue::kSums
            ? work.sums != nullptr
            : work.y != nullptr && work.row_scale != nullptr && work.weight_scale != nullptr,
        "the epilogue's operands");
  CHECK(rows.matrices() == 1 || rows.up_scale != nullptr, "the up matrix has scales");
  prefill::MakePlan(rows, backend.multiprocessors()).Run(backend, rows, epilogue);
}

}  // namespace ternion::cuda
