#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ternary_division.cuh"
#include "kernels/cuda/ternary_mma.cuh"
#include "kernels/cuda/ternary_pipeline.cuh"
#include "kernels/cuda/ternary_rows.h"

// The parts of TernaryFew (kernels/cuda/ternary_few.cu): how a matmul is cut, a warp's ring of weights, its codes, its sums.
namespace ternion::cuda::few {

inline constexpr int kTileTokens = 8;
// The block's sums of a tile of 16 outputs and 8 tokens lie as warps hold them: number i of lane l at kNumberPitch i + l,
// which four outputs of a token read without conflicts.
inline constexpr int kNumberPitch = 36;
inline constexpr int kTileSums = 4 * kNumberPitch;

// The launch, and where things lie in shared memory, in bytes: barriers first.
struct FewShape {
  int slices;  // of the inputs: the blocks of a cluster, which has `tiles` in common
  int clusters;
  int warps;
  Division tiles;  // among the clusters
  Division units;  // among the slices' warps
  int tile_units;
  int stages;  // of a warp's ring, one tile of one matrix each
  int early;   // of them filled before the codes are there
  int ring;    // [warps][stages][most units of a warp]
  int sums;    // [the block's tiles][matrices][token tiles][kTileSums]
  int scales;  // [matrices][tiles * 16], then [tokens]
  int before;  // what y holds: [the block's tiles][tokens][16]; 0: not kept
  int bytes;
};

struct FewWork {
  RowsWork rows;
  Epilogue epilogue;
  bool vectors;  // four neighbouring outputs lie aligned
  FewShape shape;
};

// A block's part of the work. Tile i of a cluster is finished by its block i % slices.
struct FewPart {
  int slice;
  Part tiles;  // of the cluster
  int own;     // tiles that this block finishes
  Part units;  // of this warp
  int first_token;
  int tokens;

  __device__ FewPart(const FewWork& work, int group_tokens)
      : slice(static_cast<int>(blockIdx.x) % work.shape.slices),
        tiles(work.shape.tiles.part(static_cast<int>(blockIdx.x) / work.shape.slices)),
        own((tiles.count - slice + work.shape.slices - 1) / work.shape.slices),
        units(work.shape.units.part(slice * work.shape.warps + WarpIndex())),
        first_token(static_cast<int>(blockIdx.y) * group_tokens),
        tokens(min(group_tokens, static_cast<int>(work.rows.matmul.tokens) - first_token)) {}
};

__device__ __forceinline__ void ArriveAtCluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void WaitForCluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
// The address in block `rank` of the cluster that `own` has in this one.
__device__ __forceinline__ uint32_t PeerAddress(const int* own, int rank) {
  uint32_t address = SharedAddress(own);
#if __CUDA_ARCH__ >= 900
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(SharedAddress(own)), "r"(rank));
#endif
  return address;
}
__device__ __forceinline__ void AddToPeer([[maybe_unused]] uint32_t address, [[maybe_unused]] int value) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.cluster.shared::cluster.add.s32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
#endif
}

// Copies that a thread goes on without; WaitForCopies waits for all of the thread's.
__device__ __forceinline__ void CopyFloat(float* to, const float* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(SharedAddress(to)), "l"(from) : "memory");
}
__device__ __forceinline__ void CopyFour(float* to, const float* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(to)), "l"(from) : "memory");
}
__device__ __forceinline__ void WaitForCopies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// A warp's units of all tiles of the cluster, in the order of use: tile by tile, of each the matrices.
template <int kMatrices, int kUnits>
class FewRing {
 public:
  __device__ FewRing(const FewWork& work, const FewPart& part)
      : stages_(work.shape.stages),
        bytes_(part.units.count * kUnitBytes),
        tile_bytes_(static_cast<int64_t>(work.shape.tile_units) * kUnitBytes),
        left_(part.tiles.count * kMatrices) {
    const int64_t first = part.tiles.first * tile_bytes_ + part.units.first * kUnitBytes;
    next_ = work.rows.matmul.weights + first;
    if constexpr (kMatrices == 2) after_ = work.rows.up_weights + first;
    barriers_ = reinterpret_cast<uint64_t*>(DynamicShared()) + WarpIndex() * stages_;
    ring_ = DynamicShared() + work.shape.ring + WarpIndex() * stages_ * kStageBytes;
    if (Lane() == 0) {
#pragma unroll 1
      for (int i = 0; i < stages_; ++i) InitStage(barriers_ + i, 1);
      PublishStages();
    }
    __syncwarp();
    FillStages(0, work.shape.early);
  }

  __device__ void FillStages(int begin, int end) {
#pragma unroll 1
    for (int i = begin; i < end; ++i) Fill(i);
  }
  // The next units have come: [unit][plane][lane].
  __device__ const uint4* Wait() {
    WaitStage(barriers_ + stage_, parity_);
    return reinterpret_cast<const uint4*>(ring_ + stage_ * kStageBytes);
  }
  // The warp has read them.
  __device__ void Release() {
    __syncwarp();
    Fill(stage_);
    if (++stage_ == stages_) stage_ = 0, parity_ ^= 1;
  }

 private:
  static constexpr int kStageBytes = kUnits * kUnitBytes;

  // While there is something left.
  __device__ void Fill(int stage) {
    if (left_ == 0) return;
    --left_;
    AnnounceStage(barriers_ + stage, bytes_);
    CopyToStage(ring_ + stage * kStageBytes, next_, bytes_, barriers_ + stage);
    EndStage(barriers_ + stage);
    const uint8_t* const following = next_ + tile_bytes_;
    if constexpr (kMatrices == 2) {
      next_ = after_, after_ = following;
    } else {
      next_ = following;
    }
  }

  const int stages_;
  const uint32_t bytes_;
  const int64_t tile_bytes_;
  int left_;
  const uint8_t* next_;
  const uint8_t* after_;  // of the other matrix
  uint64_t* barriers_;
  uint8_t* ring_;
  int stage_ = 0;  // read next
  uint32_t parity_ = 0;
};

// Codes input .. input + 15 of a row, zeros beyond its end, one by one. Not inlined: it is the rare road.
inline __device__ __noinline__ uint4 LoadPiece(const int8_t* row, int input, int inputs) {
  uint32_t words[4] = {};
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if (input + i < inputs)
      words[i / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(row[input + i])) << i % 4 * 8;
  }
  return {words[0], words[1], words[2], words[3]};
}

// A unit's codes as the lanes multiply them: lane 4 g + q has of tokens g, g + 8, .. in either half inputs 32 q + k, k < 32.
// Tokens that there are not are the last one again; their sums are not stored.
template <int kTokenTiles>
class UnitCodes {
 public:
  __device__ __forceinline__ void Load(const MatmulWork& matmul, const FewPart& part, int unit,
                                       bool aligned) {
    const int inputs = static_cast<int>(matmul.inputs), first = unit * kUnitInputs + Lane() % 4 * 32;
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
      const int token = part.first_token + min(n * kTileTokens + Lane() / 4, part.tokens - 1);
      const int8_t* const row = matmul.codes + token * matmul.inputs;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int input = first + i / 2 * (kUnitInputs / 2) + i % 2 * 16;
        uint4& piece = pieces_[n][i / 2][i % 2];
        if (aligned) {
          piece = input < inputs ? *reinterpret_cast<const uint4*>(row + input) : uint4{};
        } else {
          piece = LoadPiece(row, input, inputs);
        }
      }
    }
  }
  // Of a token tile inputs 4 i .. 4 i + 3 of the lane's.
  __device__ __forceinline__ uint32_t word(int n, int half, int i) const {
    const uint4& piece = pieces_[n][half][i / 4];
    return i % 4 == 0 ? piece.x : i % 4 == 1 ? piece.y : i % 4 == 2 ? piece.z : piece.w;
  }

 private:
  uint4 pieces_[kTokenTiles][2][2];
};

// By one instruction: bits of `ones` where the mask has ones, else of `zeros`.
__device__ __forceinline__ uint32_t SelectBits(uint32_t mask, uint32_t ones, uint32_t zeros) {
  uint32_t word;
  asm("lop3.b32 %0, %1, %2, %3, 0xe4;" : "=r"(word) : "r"(ones), "r"(zeros), "r"(mask));
  return word;
}

// A warp's sums of one tile, in four sets: a weight's code keeps its place in the byte, so that set f counts 4^f times.
template <int kTokenTiles>
class TileSums {
 public:
  // Adds a unit, whose planes the lane has.
  __device__ __forceinline__ void Add(const uint4& plane0, const uint4& plane1,
                                      const UnitCodes<kTokenTiles>& codes) {
    constexpr uint32_t kEven = 0x55555555u;
    const uint32_t low[4] = {plane0.x, plane0.y, plane0.z, plane0.w};
    const uint32_t high[4] = {plane1.x, plane1.y, plane1.z, plane1.w};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // Bits 2 f, 2 f + 1 of each byte: the code of the planes' bit 2 f, or of bit 2 f + 1.
      uint32_t even[2], odd[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        even[e] = SelectBits(kEven, low[2 * half + e], high[2 * half + e] << 1);
        odd[e] = SelectBits(kEven, low[2 * half + e] >> 1, high[2 * half + e]);
      }
#pragma unroll
      for (int f = 0; f < 4; ++f) {
        const uint32_t mask = 0x03030303u << 2 * f;
        const uint32_t a[4] = {even[0] & mask, even[1] & mask, odd[0] & mask, odd[1] & mask};
#pragma unroll
        for (int n = 0; n < kTokenTiles; ++n) {
          ByteMma(a, codes.word(n, half, 2 * f), codes.word(n, half, 2 * f + 1), v_[f][n]);
        }
      }
    }
  }
  // Adds a unit of weights that all have code 1, each to set 0.
  __device__ __forceinline__ void AddOnes(const UnitCodes<kTokenTiles>& codes) {
    constexpr uint32_t kOnes[4] = {0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int n = 0; n < kTokenTiles; ++n) {
        ByteMma(kOnes, codes.word(n, i / 4, i % 4 * 2), codes.word(n, i / 4, i % 4 * 2 + 1), v_[i % 4][n]);
      }
    }
  }
  __device__ __forceinline__ int total(int n, int i) const {
    return v_[0][n][i] + (v_[1][n][i] >> 2) + (v_[2][n][i] >> 4) + (v_[3][n][i] >> 6);
  }
  // After AddOnes: of the sets as they are.
  __device__ __forceinline__ int plain_total(int n, int i) const {
    return v_[0][n][i] + v_[1][n][i] + v_[2][n][i] + v_[3][n][i];
  }

 private:
  int v_[4][kTokenTiles][4] = {};
};

}  // namespace ternion::cuda::few
