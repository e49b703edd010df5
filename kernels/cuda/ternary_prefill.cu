// The matmul of many tokens on Hopper. Two warpgroups of a block share a tile of outputs x tokens; wgmma takes the weights
// from registers, where each lane unpacks the two bit planes of its own outputs, and the tokens' codes from shared memory.
// Those come by bulk copies, a chunk of 128 inputs at a time, into a ring of stages that thread 0 keeps filled. Weights are
// a quarter of the codes' bytes, so a wide tile has many outputs and few tokens. Bound by the tensor cores' 4,096
// multiply-adds a cycle, then by what L2 gives: 16 + 8 bytes a cycle with the large tile, 32 + 8 with the medium one.
//
// A small matmul divides its inputs among the blocks of a cluster, whose sums are added through the cluster's memory.
#include "kernels/cuda/ternary_prefill.h"

#include "kernels/cuda/prefill_store.cuh"
#include "kernels/cuda/prefill_tile.cuh"

namespace ternion::cuda::prefill {
namespace {

using Large = Tile<128, 2, 8, 1>;
using Medium = Tile<128, 1, 6, 2>;
using Small = Tile<64, 1, 12, 2>;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// sums = codes . W^T with codes of weights, over the block's units. Each group of wgmmas is two steps of 32 inputs; while
// it runs, the next group's A registers are made.
template <typename Tile>
__device__ __forceinline__ void Multiply(WeightStream<Tile::kRowTiles>& weights, Ring<Tile>& ring, int units,
                                         int32_t (&sums)[Tile::kRowTiles][Tile::kTokens / 2]) {
  uint32_t even[Tile::kRowTiles][4], odd[Tile::kRowTiles][4];
  uint32_t a[2][2][Tile::kRowTiles][4];  // [group][step]
  for (int unit = 0; unit < units; ++unit) {
    weights.Next(even, odd);
#pragma unroll
    for (int chunk = 0; chunk < 2; ++chunk) {
      uint64_t tokens = 0;
#pragma unroll
      for (int group = 0; group < 2; ++group) {
        const int shift = 2 * (2 * chunk + group);
#pragma unroll
        for (int m = 0; m < Tile::kRowTiles; ++m) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            a[group][0][m][e] = even[m][e] >> shift & 0x03030303u;
            a[group][1][m][e] = odd[m][e] >> shift & 0x03030303u;
          }
        }
        if (group == 0) tokens = ring.Wait();
        WgmmaFence();
#pragma unroll
        for (int step = 0; step < 2; ++step) {
#pragma unroll
          for (int m = 0; m < Tile::kRowTiles; ++m) {
            WgmmaU8S8(sums[m], a[group][step][m], tokens + (2 * group + step) * (kStepBytes / 16));
          }
        }
        WgmmaCommit();
        WgmmaWait<1>();
        if (group == 0) ring.ReleasePrevious();
      }
      ring.Advance();
    }
  }
  WgmmaWait<0>();
#pragma unroll
  for (int m = 0; m < Tile::kRowTiles; ++m) WgmmaResults(sums[m]);
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
  WeightStream<Tile::kRowTiles> weights(prefill.work, place.output + group * Tile::kRowTiles * kGroupOutputs,
                                        place.unit_begin, place.unit_end);
  __syncthreads();
  WaitForPrevious();
  Ring<Tile> ring(prefill, place, numbers, stages);
  LoadNumbers(prefill, place, numbers);
  __syncwarp();
  int32_t sums[Tile::kRowTiles][Tile::kTokens / 2] = {};
  Multiply<Tile>(weights, ring, static_cast<int>(place.unit_end - place.unit_begin), sums);
  StoreTile<Tile>(prefill, place, numbers, stages, sums);
#endif
}

// How a matmul is cut, and about how long that takes.
struct Plan {
  void (*launch)(CudaBackend& backend, Prefill& prefill, int64_t output_blocks);
  int64_t outputs;  // of a block
  int64_t tokens;
  int split;
  double cycles;
};

template <typename Tile>
void LaunchTile(CudaBackend& backend, Prefill& prefill, int64_t output_blocks) {
  AllowSharedMemory(PrefillKernel<Tile>, Tile::kSharedBytes);
  const int64_t blocks = output_blocks * prefill.token_blocks * prefill.split;
  LaunchShape shape{dim3(static_cast<unsigned>(blocks)), dim3(kThreads), Tile::kSharedBytes};
  shape.cluster = prefill.split;
  Launch(backend.launch_stream(), PrefillKernel<Tile>, shape, prefill);
}

// Cycles of a multiprocessor: rounds of blocks, each its units and a fixed part (the first chunk's way, the stores).
template <typename Tile>
void Consider(const MatmulWork& work, int multiprocessors, double unit_cycles, double fixed_cycles, int split,
              Plan& best) {
  const int64_t blocks =
      CeilDivide(work.outputs, Tile::kOutputs) * CeilDivide(work.tokens, Tile::kTokens) * split;
  const double rounds = static_cast<double>(CeilDivide(blocks, multiprocessors));
  const double cycles =
      rounds * (fixed_cycles + unit_cycles * static_cast<double>(CeilDivide(Units(work.inputs), split)));
  if (best.launch != nullptr && cycles >= best.cycles) return;
  best = {LaunchTile<Tile>, Tile::kOutputs, Tile::kTokens, split, cycles};
}

Plan MakePlan(const MatmulWork& work, int multiprocessors) {
  constexpr double kSplitCycles = 1000;
  Plan best = {};
  Consider<Large>(work, multiprocessors, 2048, 5000, 1, best);
  for (int split = 1; split <= kMostSplit && split <= Units(work.inputs); split *= 2) {
    const double more = split == 1 ? 0 : kSplitCycles;
    Consider<Medium>(work, multiprocessors, 1060, 2500 + more, split, best);
    Consider<Small>(work, multiprocessors, 700, 1500 + more, split, best);
  }
  return best;
}

// Whether the current device's kernel is the real one: an empty one has fewer registers than the sums take.
bool IsBuilt() {
  cudaFuncAttributes attributes;
  if (cudaFuncGetAttributes(&attributes, PrefillKernel<Large>) != cudaSuccess) {
    cudaGetLastError();  // taken: there is no code for this device
    return false;
  }
  return attributes.numRegs > Large::kRowTiles * Large::kTokens / 2;
}

}  // namespace
}  // namespace ternion::cuda::prefill

namespace ternion::cuda {

bool TernaryPrefillSupported(const cudaDeviceProp& properties) {
  if (properties.major != 9 || properties.minor != 0) return false;
  static const bool built = prefill::IsBuilt();
  return built;
}

void TernaryPrefill(CudaBackend& backend, const MatmulWork& work, Epilogue epilogue) {
  if (work.tokens == 0 || work.outputs == 0) return;
  CHECK(work.inputs > 0 && work.codes != nullptr && work.weights != nullptr,
        "a matmul has codes and weights");
  const bool sums = epilogue == Epilogue::kSums;
  CHECK(sums ? work.sums != nullptr
             : work.y != nullptr && work.row_scale != nullptr && work.weight_scale != nullptr,
        "the epilogue's operands");
  const prefill::Plan plan = prefill::MakePlan(work, backend.multiprocessors());
  const int64_t token_blocks = CeilDivide(work.tokens, plan.tokens);
  prefill::Prefill task;
  task.work = work;
  task.codes = ArrangeCodes(backend, work.codes, work.tokens, work.inputs, token_blocks * plan.tokens);
  task.epilogue = epilogue;
  task.out = sums ? reinterpret_cast<float*>(work.sums) : work.y;
  task.vectors = work.outputs % 4 == 0 && reinterpret_cast<uintptr_t>(task.out) % 16 == 0;
  task.token_blocks = static_cast<int>(token_blocks);
  task.split = plan.split;
  plan.launch(backend, task, CeilDivide(work.outputs, plan.outputs));
}

}  // namespace ternion::cuda
