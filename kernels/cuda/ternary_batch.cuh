#pragma once

#include "kernels/cuda/arrange_codes.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ternary_pipeline.cuh"
#include "kernels/cuda/ternary_rows.h"

// How TernaryBatch cuts a matmul, and how its weights and codes come to shared memory (kernels/cuda/ternary_batch.cu).
namespace ternion::cuda::batch {

inline constexpr int kWarps = 8;      // that compute
inline constexpr int kProducers = 4;  // that copy
inline constexpr int kThreads = (kWarps + kProducers) * kWarp;
inline constexpr int kWarpTiles = 2;
inline constexpr int kMostTiles = kWarps * kWarpTiles;
inline constexpr int kTileTokens = 8;
inline constexpr int kBarrierBytes = 128;
inline constexpr int kMostStages = kBarrierBytes / 16;

struct BatchShape {
  int row_warps;
  int k_warps;
  int warp_units;  // of a step: k_warps times as many are a stage's
  int groups;      // of outputs
  int slices;      // of inputs
  int slice_units;
  int stages;

  __host__ __device__ int tiles() const { return row_warps * kWarpTiles; }
  __host__ __device__ int stage_units() const { return k_warps * warp_units; }
};

struct BatchWork {
  RowsWork rows;
  Epilogue epilogue;
  BatchShape shape;
  ArrangedCodes codes;
  int32_t* parts;  // [slices][matrices][tokens][outputs]; null: one slice, whose sums are finished at once
};

// The units of a block's slice, a step at a time.
struct Steps {
  int first;  // unit
  int end;
  int each;

  __device__ int count() const { return (end - first + each - 1) / each; }
  __device__ int units(int step) const { return min(each, end - first - step * each); }
};

// A block's ring. A stage is weights [tiles][units], then the codes' chunks of the units.
template <int kTokenTiles>
class Stages {
 public:
  static constexpr int kUnitCodes = 2 * kTokenTiles * kTileTokens * kChunkBytes;

  __device__ explicit Stages(const BatchShape& shape)
      : tile_bytes_(shape.stage_units() * kUnitBytes),
        weight_bytes_(shape.tiles() * tile_bytes_),
        stage_bytes_(weight_bytes_ + shape.stage_units() * kUnitCodes) {}

  __device__ uint64_t* full(int stage) const { return reinterpret_cast<uint64_t*>(DynamicShared()) + stage; }
  __device__ uint64_t* empty(int stage) const { return full(kMostStages + stage); }
  __device__ uint8_t* weights(int stage, int tile) const {
    return DynamicShared() + kBarrierBytes + stage * stage_bytes_ + tile * tile_bytes_;
  }
  __device__ uint8_t* codes(int stage) const { return weights(stage, 0) + weight_bytes_; }
  __device__ int tile_bytes() const { return tile_bytes_; }

  // By one warp, before __syncthreads.
  __device__ void Make(int stages) const {
    if (Lane() != 0) return;
#pragma unroll 1
    for (int i = 0; i < stages; ++i) {
      InitStage(full(i), kProducers);
      InitBarrier(empty(i), kWarps);
    }
    PublishStages();
  }

 private:
  const int tile_bytes_;
  const int weight_bytes_;
  const int stage_bytes_;
};

// A copying warp: its tiles are every kProducers-th, and the first of them copies the codes.
template <int kTokenTiles, int kMatrices>
class Producer {
 public:
  __device__ Producer(const BatchWork& work, const Steps& steps, const Stages<kTokenTiles>& stages)
      : steps_(steps), stages_(stages), first_(WarpIndex() - kWarps) {
    const MatmulWork& matmul = work.rows.matmul;
    const int64_t tiles = CeilDivide(matmul.outputs, kTileOutputs),
                  units = CeilDivide(matmul.inputs, kUnitInputs);
    codes_ = work.codes.chunks + static_cast<int64_t>(steps.first) * kUnitCodes;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      const int of_group = first_ + i * kProducers;
      if (of_group < work.shape.tiles()) count_ = i + 1;
      const bool up = kMatrices == 2 && of_group % 2 == 1;
      // Tiles beyond the matrix read the last one; their sums are not stored.
      const int64_t tile =
          min((static_cast<int64_t>(blockIdx.x) * work.shape.tiles() + of_group) / kMatrices, tiles - 1);
      weights_[i] = (up ? work.rows.up_weights : matmul.weights) + (tile * units + steps.first) * kUnitBytes;
    }
  }

  // Steps one after the other, to stages in a circle.
  __device__ void Run(int stages) {
    const int count = steps_.count(), first = min(count, stages);
    for (int i = 0; i < first; ++i) FillWeights(i, i);
    WaitForPrevious();
    for (int i = 0; i < first; ++i) FillCodes(i, i);
    int stage = 0;
    uint32_t parity = 0;
    for (int step = stages; step < count; ++step) {
      WaitStage(stages_.empty(stage), parity);
      FillWeights(step, stage);
      FillCodes(step, stage);
      if (++stage == stages) stage = 0, parity ^= 1;
    }
  }

 private:
  static constexpr int kTiles = kMostTiles / kProducers;
  static constexpr int kUnitCodes = Stages<kTokenTiles>::kUnitCodes;

  // The two halves of a fill, in this order.
  __device__ void FillWeights(int step, int stage) {
    const uint32_t units = steps_.units(step), bytes = units * kUnitBytes;
    AnnounceStage(stages_.full(stage), count_ * bytes + (first_ == 0 ? units * kUnitCodes : 0));
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      if (i >= count_) break;
      CopyToStage(stages_.weights(stage, first_ + i * kProducers), weights_[i], bytes, stages_.full(stage));
      weights_[i] += bytes;
    }
  }
  __device__ void FillCodes(int step, int stage) {
    if (first_ == 0) {
      const uint32_t bytes = steps_.units(step) * kUnitCodes;
      CopyToStage(stages_.codes(stage), codes_, bytes, stages_.full(stage));
      codes_ += bytes;
    }
    EndStage(stages_.full(stage));
  }

  const Steps& steps_;
  const Stages<kTokenTiles>& stages_;
  const int first_;
  int count_ = 0;
  const uint8_t* weights_[kTiles];  // of the next step
  const int8_t* codes_;
};

}  // namespace ternion::cuda::batch
