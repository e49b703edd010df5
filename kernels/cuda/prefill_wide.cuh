#pragma once

#include "kernels/cuda/prefill_tile.cuh"

// The prefill kernel of large matmuls (kernels/cuda/ternary_prefill.cu): what its blocks work on, and how codes and
// weights come. Only for code under __CUDA_ARCH_FEAT_SM90_ALL.
namespace ternion::cuda::prefill {

inline constexpr int kWideThreads = kThreads + kGroupThreads;  // the third warpgroup brings the operands
inline constexpr int kWideOutputs = kWarpgroups * kGroupOutputs;
inline constexpr int kSteps = kChunkBytes / kStepBytes;

// Sums on their way to rows lie in shared memory as pieces of a warpgroup's tile, [32 tokens][64 outputs]; while one is
// stored the next is written.
inline constexpr int kPieceTokens = 32;
inline constexpr int kPieceWords = kPieceTokens * kRowWords;
inline constexpr int kPieceSlots = 2;

template <int kTokensOf, int kPairOf = 2, int kStagesOf = 12>
struct WideTile {
  static constexpr int kTokens = kTokensOf;
  static constexpr int kPair = kPairOf;                      // blocks of a cluster: they share the tokens
  static constexpr int kItemOutputs = kPair * kWideOutputs;  // of a cluster
  static constexpr int kStageBytes = kTokens * kChunkBytes;
  static constexpr int kSlotsBytes = kWarpgroups * kPieceSlots * kPieceWords * 4;
  static constexpr int kMostBytes =
      227 * 1024 - kSharedAlignment - 512 - 16 * kTokens;  // the rest: WideShared
  static constexpr int kStagesFit = (kMostBytes - kSlotsBytes) / kStageBytes;
  static constexpr int kStages = kStagesFit < kStagesOf ? kStagesFit : kStagesOf;
  static constexpr int kSharedBytes = kStages * kStageBytes + kSlotsBytes + kSharedAlignment;
  static_assert(kStageBytes / kPair % kSharedAlignment == 0 && kTokens % 16 == 0);
};

struct Wide {
  MatmulWork work;
  const uint8_t* up_weights;  // of a gated unit, else null
  const float* up_scale;
  ArrangedCodes codes;
  Epilogue epilogue;
  float* out;    // work.y, or work.sums whose bits go through float registers
  bool vectors;  // rows of `out` are multiples of 16 bytes
  int token_blocks;
  int items;  // of the whole matmul: kPair * kWideOutputs outputs x Tile::kTokens tokens
};

// What a reader of sums needs of the tokens.
struct alignas(8) TokenNumbers {
  int32_t code_sum;
  float row_scale;
};

template <typename Tile>
struct WideShared {
  uint64_t full[Tile::kStages];
  uint64_t empty[Tile::kStages];  // both blocks' warps have done with the stage
  uint64_t numbers_full[2];
  uint64_t numbers_empty[2];
  TokenNumbers numbers[2][(Tile::kTokens + kWarp - 1) / kWarp * kWarp];
};

// The tiles that a cluster computes one after the other: of a gated unit each tile twice, first the gate's.
template <typename Tile>
class TileWalk {
 public:
  __device__ explicit TileWalk(const Wide& wide)
      : wide_(wide),
        rank_(static_cast<int>(blockIdx.x) % Tile::kPair),
        clusters_(static_cast<int>(gridDim.x) / Tile::kPair),
        item_(static_cast<int>(blockIdx.x) / Tile::kPair) {}

  __device__ bool done() const { return item_ >= wide_.items; }
  __device__ void Advance() {
    if (wide_.up_weights != nullptr && !up_) {
      up_ = true;
      return;
    }
    up_ = false;
    item_ += clusters_;
  }
  __device__ bool up() const { return up_; }
  // Clusters that run at once share outputs, whose weights then stay in L2.
  __device__ int64_t token() const {
    return static_cast<int64_t>(item_ % wide_.token_blocks) * Tile::kTokens;
  }
  __device__ int64_t output() const {
    return (static_cast<int64_t>(item_ / wide_.token_blocks) * Tile::kPair + rank_) * kWideOutputs;
  }
  __device__ const uint8_t* weights() const { return up_ ? wide_.up_weights : wide_.work.weights; }

 private:
  const Wide& wide_;
  const int rank_;
  const int clusters_;
  int item_;
  bool up_ = false;
};

// Registers go from the warpgroup that needs few to those that need many.
template <int kRegisters>
__device__ __forceinline__ void LowerRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void RaiseRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// Barriers that were published are there in the whole cluster.
__device__ __forceinline__ void SyncClusterStart() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Arrives at the barrier of the block of `rank`.
__device__ __forceinline__ void ArriveAt(uint64_t* barrier, int rank) {
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(SharedAddress(barrier)),
      "r"(rank)
      : "memory");
}
// The copy goes to the same place in both blocks of the cluster, and tells each one's barrier.
__device__ __forceinline__ void CopyToPair(void* shared, const void* global, uint32_t bytes,
                                           uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, "
      "[%3], "
      "%4;" ::"r"(SharedAddress(shared)),
      "l"(global), "r"(bytes), "r"(SharedAddress(barrier)), "h"(static_cast<uint16_t>(3))
      : "memory");
}
__device__ __forceinline__ void ExpectBytes(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)), "r"(bytes)
               : "memory");
}

// The warp that brings half of each chunk to both blocks. One lane comes here.
template <typename Tile>
class ChunkProducer {
 public:
  __device__ ChunkProducer(const Wide& wide, WideShared<Tile>& shared, char* stages)
      : wide_(wide), shared_(shared), stages_(stages) {}

  __device__ void Run() {
    for (TileWalk<Tile> walk(wide_); !walk.done(); walk.Advance()) FillTile(walk.token());
    for (int i = 0; i < Tile::kStages; ++i)
      WaitEmpty();  // the other block must not arrive after this one's end
  }

 private:
  __device__ void WaitEmpty() {
    if (round_ > 0) WaitBarrier(&shared_.empty[stage_], (round_ & 1) ^ 1);
    if (++stage_ == Tile::kStages) stage_ = 0, ++round_;
  }

  __device__ void FillTile(int64_t token) {
    constexpr int kPart = Tile::kStageBytes / Tile::kPair;
    const int rank = static_cast<int>(blockIdx.x) % Tile::kPair;
    const int chunks = static_cast<int>(2 * CeilDivide(wide_.work.inputs, kUnitInputs));
    const int64_t pitch = wide_.codes.tokens * kChunkBytes;
    const int8_t* from = wide_.codes.chunks + token * kChunkBytes + rank * kPart;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int stage = stage_;
      char* const to = stages_ + stage * Tile::kStageBytes + rank * kPart;
      WaitEmpty();
      if constexpr (Tile::kPair == 1) {
        StartCopy(to, from, kPart, &shared_.full[stage]);
      } else {
        ExpectBytes(&shared_.full[stage], Tile::kStageBytes);
        CopyToPair(to, from, kPart, &shared_.full[stage]);
      }
      from += pitch;
    }
  }

  const Wide& wide_;
  WideShared<Tile>& shared_;
  char* const stages_;
  int stage_ = 0;
  int round_ = 0;
};

// The warp that brings the tokens' numbers, up to two tiles ahead.
template <typename Tile>
__device__ void BringNumbers(const Wide& wide, WideShared<Tile>& shared) {
  constexpr int kEach = (Tile::kTokens + kWarp - 1) / kWarp;
  int tile = 0;
  for (TileWalk<Tile> walk(wide); !walk.done(); walk.Advance(), ++tile) {
    const int buffer = tile & 1;
    if (tile >= 2) WaitBarrier(&shared.numbers_empty[buffer], (tile >> 1 & 1) ^ 1);
    int32_t sum[kEach] = {};
    float scale[kEach] = {};
    const int64_t first = walk.token() + Lane();
    for (int part = 0; part < wide.codes.sum_parts; ++part) {
      const int32_t* const sums = wide.codes.sums + part * wide.codes.tokens + first;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (Lane() + i * kWarp < Tile::kTokens) sum[i] += sums[i * kWarp];
      }
    }
    if (wide.epilogue != Epilogue::kSums) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (first + i * kWarp < wide.work.tokens) scale[i] = wide.work.row_scale[first + i * kWarp];
      }
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      TokenNumbers& numbers = shared.numbers[buffer][Lane() + i * kWarp];
      numbers.code_sum = sum[i];
      numbers.row_scale = scale[i];
    }
    __syncwarp();
    if (Lane() == 0) Arrive(&shared.numbers_full[buffer]);
  }
}

// A warp's view of the stages.
template <typename Tile>
class WideRing {
 public:
  __device__ WideRing(WideShared<Tile>& shared, char* stages) : shared_(shared), stages_(stages) {}

  // The current chunk has come; returns its descriptor.
  __device__ uint64_t Wait() {
    WaitBarrier(&shared_.full[stage_], phase_);
    return SwizzledTile(SharedAddress(stages_ + stage_ * Tile::kStageBytes));
  }
  __device__ void Advance() {
    if (++stage_ == Tile::kStages) stage_ = 0, phase_ ^= 1;
  }
  // This warp has done with the chunk `kBack` before the current one.
  template <int kBack>
  __device__ void Release() {
    const int stage = stage_ >= kBack ? stage_ - kBack : stage_ - kBack + Tile::kStages;
    if (Lane() < Tile::kPair) ArriveAt(&shared_.empty[stage], Lane());
  }

 private:
  WideShared<Tile>& shared_;
  char* const stages_;
  int stage_ = 0;
  uint32_t phase_ = 0;
};

// A lane's weights of one row tile, fetched a unit ahead, on from tile to tile.
class WideWeights {
 public:
  __device__ explicit WideWeights(const MatmulWork& work)
      : units_(CeilDivide(work.inputs, kUnitInputs)), tiles_(CeilDivide(work.outputs, kTileOutputs)) {}

  // Tiles beyond the matrix read the last one; their sums are not stored.
  __device__ void StartAt(const uint8_t* weights, int64_t output) {
    int64_t tile = output / kTileOutputs + WarpIndex();
    if (tile >= tiles_) tile = tiles_ - 1;
    from_ = weights + tile * units_ * kUnitBytes + Lane() * 16;
    Fetch();
  }
  __device__ void FetchNext() {
    from_ += kUnitBytes;
    Fetch();
  }
  // The codes of the unit that was fetched, as PairPlanes gives them.
  __device__ void Take(uint32_t (&even)[4], uint32_t (&odd)[4]) const { PairPlanes(low_, high_, even, odd); }

 private:
  __device__ void Fetch() {
    low_ = ReadOnce(from_);
    high_ = ReadOnce(from_ + kPlaneBytes);
  }

  const int64_t units_;
  const int64_t tiles_;
  const uint8_t* from_;
  uint4 low_;
  uint4 high_;
};

}  // namespace ternion::cuda::prefill
