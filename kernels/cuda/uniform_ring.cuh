#pragma once

#include "kernels/cuda/uniform_unit.cuh"

namespace ternion::cuda {

inline constexpr int kRingStages = 3;

// A warp's share of weights in the order of use: the units of its part, of kRows tiles at a time. Either all stages are full
// before the first is used, and each is filled again when it has been (kFull); or a stage is filled while the next is used.
template <typename Stage, int kRows, bool kFull>
class UnitRing {
 public:
  using Stages = Stage[kRows];

  // Fills all stages (kFull) or all but one, one after the other: more on its way would delay what the kernel before still has to
  // read.
  __device__ __forceinline__ UnitRing(const UniformArguments& arguments, int part, int first_tile, int stride,
                                      int turns, Stages* ring)
      : arguments_(arguments),
        ring_(ring),
        begin_(arguments.PartBegin(part)),
        end_(arguments.PartBegin(part + 1)),
        stride_(stride),
        tile_(first_tile),
        left_(turns * (end_ - begin_)) {
    BeginTile();
#pragma unroll 1
    for (int i = 0; i < kRingStages - (kFull ? 0 : 1); ++i) {
      AwaitCopies<0>();
      Fill();
    }
  }

  __device__ __forceinline__ const Stages& Current() {
    AwaitCopies<kFull ? kRingStages - 1 : kRingStages - 2>();
    __syncwarp();
    if constexpr (!kFull) Fill();
    return ring_[read_];
  }
  // The current unit is done with.
  __device__ __forceinline__ void Advance() {
    read_ = read_ + 1 == kRingStages ? 0 : read_ + 1;
    if constexpr (kFull) {
      __syncwarp();
      Fill();
    }
  }

 private:
  __device__ __forceinline__ void BeginTile() {
    unit_ = begin_;
    // In the place of tiles that do not exist the first one.
    row_step_ = tile_ + kRows <= arguments_.tile_count ? arguments_.tile_bytes : 0;
    tile_begin_ = arguments_.tiles + tile_ * arguments_.tile_bytes;
    codes_ = Stage::LaneCodesOf(arguments_, tile_begin_, begin_);
  }
  // While there is something left.
  __device__ __forceinline__ void Fill() {
    if (left_ > 0) {
      --left_;
      const uint8_t* const group = tile_begin_ + Stage::GroupOffset(arguments_, unit_);
#pragma unroll
      for (int r = 0; r < kRows; ++r) ring_[write_][r].Start(codes_ + r * row_step_, group + r * row_step_);
      codes_ += sizeof(Stage::codes);
      if (++unit_ == end_) {
        tile_ += stride_;
        BeginTile();
      }
      write_ = write_ + 1 == kRingStages ? 0 : write_ + 1;
    }
    CommitCopies();
  }

  const UniformArguments& arguments_;
  Stages* const ring_;
  const int begin_, end_, stride_;
  // To be filled next.
  int tile_, left_, unit_;
  int64_t row_step_;
  const uint8_t* tile_begin_;
  const uint8_t* codes_;  // the lane's
  int write_ = 0, read_ = 0;
};

}  // namespace ternion::cuda
