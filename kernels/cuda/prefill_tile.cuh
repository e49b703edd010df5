#pragma once

#include "kernels/cuda/arrange_codes.h"
#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/read_once.cuh"
#include "kernels/cuda/ternary_layout.h"
#include "kernels/cuda/wgmma.cuh"

// What a block of the prefill kernel (kernels/cuda/ternary_prefill.cu) works on, and where its operands come from.
namespace ternion::cuda::prefill {

inline constexpr int kWarpgroups = 2;
inline constexpr int kGroupThreads = 128;
inline constexpr int kThreads = kWarpgroups * kGroupThreads;
inline constexpr int kGroupOutputs = 64;  // of one wgmma
inline constexpr int kStepBytes = 32;     // inputs of one wgmma
inline constexpr int kMostSplit = 4;
// A stage is filled again this many chunks after its own: so far one warpgroup may run ahead of the other.
inline constexpr int kLag = 1;
inline constexpr int kSharedAlignment = 1024;

// Sums on their way to rows lie in shared memory as [tokens][64 outputs] of a warpgroup; rows are 4 words longer, so
// that neither the writes by fragment nor the reads by row meet in a bank.
inline constexpr int kRowWords = kGroupOutputs + 4;

template <int kTokensOf, int kStagesOf, int kBlocksOf>
struct Tile {
  static constexpr int kTokens = kTokensOf;
  static constexpr int kStages = kStagesOf;
  static constexpr int kBlocks = kBlocksOf;  // that a multiprocessor holds
  static constexpr int kOutputs = kWarpgroups * kGroupOutputs;
  static constexpr int kStageBytes = kTokens * kChunkBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes + kSharedAlignment;
  static constexpr int kRowsWords = kTokens * kRowWords;
  static_assert(kWarpgroups * kRowsWords * 4 <= kStages * kStageBytes, "the rows go where the stages were");
  static_assert(kStageBytes % kSharedAlignment == 0 && kLag + 1 < kStages);
};

struct Prefill {
  MatmulWork work;
  ArrangedCodes codes;
  Epilogue epilogue;
  float* out;    // work.y, or work.sums whose bits go through float registers
  bool vectors;  // rows of `out` are multiples of 16 bytes
  int token_blocks;
  int split;  // blocks of a cluster
};

// What a block computes.
struct Place {
  int64_t output;  // the first
  int64_t token;
  int64_t unit_begin;
  int64_t unit_end;
  int rank;  // in the cluster
};

template <typename Tile>
struct SharedNumbers {
  uint64_t full[Tile::kStages];
  uint64_t empty[Tile::kStages];
  int32_t code_sum[Tile::kTokens];
  float row_scale[Tile::kTokens];
};

// Blocks that run at once share the outputs, whose weights then stay in L2.
template <typename Tile>
__device__ Place FindPlace(const Prefill& prefill) {
  const int block = static_cast<int>(blockIdx.x) / prefill.split;
  const int rank = static_cast<int>(blockIdx.x) % prefill.split;
  const int64_t units = CeilDivide(prefill.work.inputs, kUnitInputs);
  return {static_cast<int64_t>(block / prefill.token_blocks) * Tile::kOutputs,
          static_cast<int64_t>(block % prefill.token_blocks) * Tile::kTokens, units * rank / prefill.split,
          units * (rank + 1) / prefill.split, rank};
}

// The chunks of a block on their way through the stages.
template <typename Tile>
class Ring {
 public:
  // After the barriers were made and the codes are there.
  __device__ Ring(const Prefill& prefill, const Place& place, SharedNumbers<Tile>& numbers, char* stages)
      : numbers_(numbers),
        stages_(stages),
        chunks_(static_cast<int>(2 * (place.unit_end - place.unit_begin))),
        pitch_(prefill.codes.tokens * kChunkBytes),
        next_(prefill.codes.chunks + 2 * place.unit_begin * pitch_ + place.token * kChunkBytes) {
    if (threadIdx.x == 0) {
      for (int i = 0; i < Tile::kStages && i < chunks_; ++i) Fill(i);
    }
    __syncwarp();
  }

  // The current chunk has come; returns its descriptor.
  __device__ uint64_t Wait() {
    WaitBarrier(&numbers_.full[stage_], phase_);
    return SwizzledTile(SharedAddress(stages_ + stage_ * Tile::kStageBytes));
  }

  // This warp has done with the chunk before the current one.
  __device__ void ReleasePrevious() {
    if (chunk_ == 0) return;
    if (Lane() == 0) Arrive(&numbers_.empty[stage_ == 0 ? Tile::kStages - 1 : stage_ - 1]);
    if (threadIdx.x == 0 && chunk_ > kLag && chunk_ - 1 - kLag + Tile::kStages < chunks_) {
      WaitBarrier(&numbers_.empty[refill_], refill_phase_);
      Fill(refill_);
      if (++refill_ == Tile::kStages) refill_ = 0, refill_phase_ ^= 1;
    }
    __syncwarp();
  }

  __device__ void Advance() {
    ++chunk_;
    if (++stage_ == Tile::kStages) stage_ = 0, phase_ ^= 1;
  }

 private:
  __device__ void Fill(int stage) {
    StartCopy(stages_ + stage * Tile::kStageBytes, next_, Tile::kStageBytes, &numbers_.full[stage]);
    next_ += pitch_;
  }

  SharedNumbers<Tile>& numbers_;
  char* const stages_;
  const int chunks_;
  const int64_t pitch_;
  const int8_t* next_;  // to be copied; thread 0's
  int chunk_ = 0;
  int stage_ = 0;
  uint32_t phase_ = 0;
  int refill_ = 0;
  uint32_t refill_phase_ = 0;
};

// The codes of a lane's words of a unit's two planes: bits 2 f, 2 f + 1 of every byte of even[e] are the code of plane bit
// 2 f, those of odd that of plane bit 2 f + 1.
__device__ __forceinline__ void PairPlanes(const uint4& plane0, const uint4& plane1, uint32_t (&even)[4],
                                           uint32_t (&odd)[4]) {
  const uint32_t low[4] = {plane0.x, plane0.y, plane0.z, plane0.w};
  const uint32_t high[4] = {plane1.x, plane1.y, plane1.z, plane1.w};
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    even[e] = (low[e] & 0x55555555u) | (high[e] << 1 & 0xaaaaaaaau);
    odd[e] = (low[e] >> 1 & 0x55555555u) | (high[e] & 0xaaaaaaaau);
  }
}

// A lane's weights, fetched a unit ahead.
class WeightStream {
 public:
  // `output`: the warpgroup's first. Tiles beyond the matrix read the last one; their sums are not stored.
  __device__ WeightStream(const MatmulWork& work, int64_t output, int64_t unit_begin, int64_t unit_end)
      : left_(static_cast<int>(unit_end - unit_begin)) {
    const int64_t units = CeilDivide(work.inputs, kUnitInputs),
                  tiles = CeilDivide(work.outputs, kTileOutputs);
    int64_t tile = output / kTileOutputs + WarpIndex() % 4;
    if (tile >= tiles) tile = tiles - 1;
    from_ = work.weights + (tile * units + unit_begin) * kUnitBytes + Lane() * 16;
    Fetch();
  }

  // The next unit's codes, as PairPlanes gives them.
  __device__ void Next(uint32_t (&even)[4], uint32_t (&odd)[4]) {
    PairPlanes(low_, high_, even, odd);
    from_ += --left_ > 0 ? kUnitBytes : 0;  // the last is fetched twice
    Fetch();
  }

 private:
  __device__ void Fetch() {
    low_ = ReadOnce(from_);
    high_ = ReadOnce(from_ + kPlaneBytes);
  }

  const uint8_t* from_;
  int left_;
  uint4 low_;
  uint4 high_;
};

}  // namespace ternion::cuda::prefill
