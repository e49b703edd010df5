// Uniform weights by up to four tokens: bound by reading the weights, on small matrices by the number of instructions. Warp w of
// eight multiplies part w of one or two tiles of 16 outputs, and of further ones; it streams its share of them through a ring of
// its own in shared memory. The rings are full before the kernels before this one are done; then a warp rounds its part of the
// rows of x for itself: a kernel for that would cost more. Code that runs once must be fetched, so loops are not unrolled.
//
// Eight columns are four tokens of one segment, two of two or one of four: where tokens are fewer, a lane takes of the
// multiplications by several segments' weights that by its columns' segment, and the float operations are done once.
#include <algorithm>

#include "kernels/cuda/uniform_linear.cuh"
#include "kernels/cuda/uniform_round.cuh"

namespace ternion::cuda {
namespace {

// Of a warp's ring. More delay what the kernel before still has to read.
constexpr int kStages = 3;

extern __shared__ uint4 few_memory[];

// A warp's share of weights in the order of use: the units of its part, of kRows tiles at a time.
template <typename Stage, int kRows>
class UnitRing {
 public:
  using Stages = Stage[kRows];

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
    for (int i = 0; i < kStages - 1; ++i) Fill();
  }

  // The next unit; the one before is done with.
  __device__ __forceinline__ const Stages& Next() {
    AwaitCopies<kStages - 2>();
    __syncwarp();
    const Stages& next = ring_[read_];
    read_ = read_ + 1 == kStages ? 0 : read_ + 1;
    Fill();
    return next;
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
      write_ = write_ + 1 == kStages ? 0 : write_ + 1;
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

// Outputs whose sums a lane has.
template <int kTokens>
constexpr int kLaneOutputs = kTokens == 1 ? 1 : 2;

// A unit of weights by the rounded inputs of kTokens tokens.
template <int kBits, bool kHalfScales, int kSegment, int kTokens>
struct FewProduct {
  using Stage = UnitStage<kBits, kHalfScales, kSegment>;
  using Inputs = UnitInputs<kSegment, kTokens>;
  using Codes = LaneCodes<kBits, kSegment>;
  static constexpr int kSegments = Inputs::kSegments, kSets = Inputs::kSets;
  static constexpr int kOutputs = kLaneOutputs<kTokens>;

  // Adds the unit's segments to the sums of kRows tiles: of outputs g and g + 8 by token q % kTokens; of one token, of output
  // g + 8 (q % 2).
  template <int kRows>
  __device__ __forceinline__ static void Add(const Stage (&weights)[kRows], const Inputs& inputs,
                                             float (&partial)[kRows][kOutputs]) {
    Codes codes[kRows];
#pragma unroll
    for (int row = 0; row < kRows; ++row) codes[row].Load(weights[row].codes);
    float terms[kRows][kSets][2];
#pragma unroll
    for (int s = 0; s < kSets; ++s) {
      const LaneInputs<kSegment> mine = inputs.operands[s][LaneIndex()];
      const SegmentFactors factors = inputs.factors[s][LaneIndex() % 4];
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        const GroupPair<kHalfScales> group =
            weights[row].groups[s * kSegments + LaneIndex() % 4 / kTokens][LaneIndex() / 4];
        int sums[4];
        Multiply(codes[row], s, mine, sums);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          terms[row][s][i] =
              SegmentTerm(sums[2 * i], sums[2 * i + 1], group.zero(i), group.scale(i), factors);
        }
      }
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) AddPairs(terms[row], partial[row]);
  }

 private:
  // Sums of set s: of the segment that the lane's columns have.
  __device__ __forceinline__ static void Multiply(const Codes& codes, int s, const LaneInputs<kSegment>& mine,
                                                  int (&sums)[4]) {
    int of_segment[kSegments][4];
#pragma unroll
    for (int r = 0; r < kSegments; ++r) {
      uint32_t a[4];
      codes.Operand(s * kSegments + r, 0, a);
      FirstByteMma(a, mine.steps[0].x, mine.steps[0].y, of_segment[r]);
#pragma unroll
      for (int step = 1; step < Codes::kSteps; ++step) {
        codes.Operand(s * kSegments + r, step, a);
        ByteMma(a, mine.steps[step].x, mine.steps[step].y, of_segment[r]);
      }
    }
    const int wanted = LaneIndex() % 4 / kTokens;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums[i] = of_segment[0][i];
      if constexpr (kSegments == 2) sums[i] = wanted == 0 ? sums[i] : of_segment[1][i];
      if constexpr (kSegments == 4) {
        const int low = wanted % 2 == 0 ? sums[i] : of_segment[1][i];
        const int high = wanted % 2 == 0 ? of_segment[2][i] : of_segment[3][i];
        sums[i] = wanted < 2 ? low : high;
      }
    }
  }

  // Adds the terms of the unit's segments 0 and 1, then of 2 and 3.
  __device__ __forceinline__ static void AddPairs(const float (&terms)[kSets][2],
                                                  float (&partial)[kOutputs]) {
    if constexpr (kTokens == 1) {
      // Of two neighbours each goes on with one output.
      const bool odd = LaneIndex() % 2 == 1;
      const float kept = odd ? terms[0][1] : terms[0][0], sent = odd ? terms[0][0] : terms[0][1];
      const float pair = kept + __shfl_xor_sync(kAllLanes, sent, 1);
      const float other = __shfl_xor_sync(kAllLanes, pair, 2);
      const bool is_first = LaneIndex() % 4 < 2;
      partial[0] = (partial[0] + (is_first ? pair : other)) + (is_first ? other : pair);
    } else {
#pragma unroll
      for (int s = 0; s < kSets; s += kTokens / 2) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float second = kTokens == 2 ? __shfl_xor_sync(kAllLanes, terms[s][i], 2) : terms[s + 1][i];
          partial[i] += terms[s][i] + second;
        }
      }
    }
  }
};

// The warps' sums of two turns.
template <int kTokens, int kRows>
using TurnSums = float[2][kRows][kTokens][kParts][kUniformTile];

template <int kTokens, int kRows>
__device__ __forceinline__ void StoreSums(const float (&partial)[kRows][kLaneOutputs<kTokens>],
                                          float (&to)[kRows][kTokens][kParts][kUniformTile]) {
  const int column = LaneIndex() % 4, part = WarpIndex();
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    if constexpr (kTokens == 1) {
      if (column < 2) to[row][0][part][LaneIndex() / 4 + 8 * column] = partial[row][0];
    } else if (column < kTokens) {
#pragma unroll
      for (int i = 0; i < 2; ++i) to[row][column][part][LaneIndex() / 4 + 8 * i] = partial[row][i];
    }
  }
}

// Adds the parts of a turn's tiles, from `tile` on, and of the next turn's, `stride` further, in order.
template <int kTokens, int kRows>
__device__ __forceinline__ void StoreTiles(const UniformArguments& arguments, int tile, int stride, int turns,
                                           const TurnSums<kTokens, kRows>& sums) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= turns * kRows * kTokens * kUniformTile) return;
  const int output = i % kUniformTile, token = i / kUniformTile % kTokens,
            row = i / kUniformTile / kTokens % kRows, turn = i / kUniformTile / kTokens / kRows;
  float sum = 0;
#pragma unroll
  for (int p = 0; p < kParts; ++p) sum += sums[turn][row][token][p][output];
  StoreUniform(arguments, token, int64_t{tile + turn * stride + row} * kUniformTile + output, sum);
}

// A warp rounds its part, kAtOnce units at a time, so that one does not wait for the other; the next ones are on their way
// meanwhile. In the place of a unit that does not exist the last one is rounded again.
template <int kBits, int kSegment, int kTokens>
__device__ __forceinline__ void RoundPart(const UniformArguments& arguments, int part,
                                          UnitInputs<kSegment, kTokens>* inputs) {
  constexpr int kAtOnce = kTokens == 1 ? 2 : 1;
  const int begin = arguments.PartBegin(part), last = arguments.PartBegin(part + 1) - 1;
  FloatUnit<kSegment, kTokens> next[kAtOnce];
  const auto load_next = [&](int first) {
    if (first > last) return;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) next[i].Load(arguments, 0, min(first + i, last));
  };
  load_next(begin);
#pragma unroll 1
  for (int first = begin; first <= last; first += kAtOnce) {
    FloatUnit<kSegment, kTokens> from[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) from[i] = next[i];
    load_next(first + kAtOnce);
    RoundedUnit<kBits, kSegment, kTokens> rounded[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) rounded[i].Round(from[i]);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) rounded[i].Store(inputs[min(first + i, last)]);
  }
  __syncwarp();
}

// A block has tiles kRows * (blockIdx.x + i * gridDim.x) .., kRows of them at a time: `turns` times, the first `longer` blocks
// once more.
template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows>
__global__ void __launch_bounds__(kParts* kWarp, 2)  // this kernel's and the next one's
    UniformFew(UniformArguments arguments, int turns, int longer) {
  StartNext();
  using Product = FewProduct<kBits, kHalfScales, kSegment, kTokens>;
  using Ring = UnitRing<typename Product::Stage, kRows>;
  __shared__ TurnSums<kTokens, kRows> sums[2];
  auto* const rings = reinterpret_cast<typename Ring::Stages*>(few_memory);  // [warps, stages]
  auto* const inputs = reinterpret_cast<typename Product::Inputs*>(rings + kParts * kStages);  // [units]
  // The compiler is to know that it is the same for all lanes.
  const int part = __shfl_sync(kAllLanes, WarpIndex(), 0);
  const int stride = static_cast<int>(gridDim.x) * kRows;
  const int first_tile = static_cast<int>(blockIdx.x) * kRows;
  if (static_cast<int>(blockIdx.x) < longer) ++turns;
  Ring ring(arguments, part, first_tile, stride, turns, rings + part * kStages);
  WaitForPrevious();
  RoundPart<kBits, kSegment, kTokens>(arguments, part, inputs);
  const int begin = arguments.PartBegin(part), end = arguments.PartBegin(part + 1);
  int tile = first_tile;
#pragma unroll 1
  for (int turn = 0; turn < turns; ++turn, tile += stride) {
    float partial[kRows][kLaneOutputs<kTokens>] = {};
#pragma unroll 1
    for (int unit = begin; unit < end; ++unit) Product::Add(ring.Next(), inputs[unit], partial);
    TurnSums<kTokens, kRows>& of_pair = sums[turn / 2 % 2];
    StoreSums<kTokens, kRows>(partial, of_pair[turn % 2]);
    const bool second = turn % 2 == 1;
    if (!second && turn + 1 < turns) continue;
    __syncthreads();
    StoreTiles<kTokens, kRows>(arguments, second ? tile - stride : tile, stride, second ? 2 : 1, of_pair);
  }
}

// Dynamic shared memory: the warps' rings and the rounded inputs.
template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows>
size_t FewBytes(int64_t units) {
  return kParts * kStages * kRows * sizeof(UnitStage<kBits, kHalfScales, kSegment>) +
         static_cast<size_t>(units) * sizeof(UnitInputs<kSegment, kTokens>);
}

template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows>
void LaunchFew(CudaBackend& backend, const UniformArguments& arguments, int64_t most_blocks) {
  const size_t bytes = FewBytes<kBits, kHalfScales, kSegment, kTokens, kRows>(arguments.units);
  const int64_t groups = CeilDivide(arguments.tile_count, kRows), blocks = std::min(groups, most_blocks);
  const auto kernel = UniformFew<kBits, kHalfScales, kSegment, kTokens, kRows>;
  AllowSharedMemory(kernel, bytes);
  Launch(backend.launch_stream(), kernel, {dim3(static_cast<unsigned>(blocks)), dim3(kParts * kWarp), bytes},
         arguments, static_cast<int>(groups / blocks), static_cast<int>(groups % blocks));
}

// False where two tiles at a time do not fit.
template <int kBits, bool kHalfScales, int kSegment, int kTokens>
bool LaunchRows(CudaBackend& backend, const UniformArguments& arguments) {
  if (FewBytes<kBits, kHalfScales, kSegment, kTokens, 2>(arguments.units) + 2 * sizeof(TurnSums<kTokens, 2>) >
      backend.properties().sharedMemPerBlockOptin) {
    return false;
  }
  const int64_t tiles = arguments.tile_count, processors = backend.multiprocessors();
  if (tiles <= 2 * processors) {
    LaunchFew<kBits, kHalfScales, kSegment, kTokens, 1>(backend, arguments, processors);
    return true;
  }
  // Two blocks of a multiprocessor wait less, but where their last round would have less to do one is better.
  const int64_t pairs = CeilDivide(tiles, 2);
  const bool two = kTokens == 1 && 2 * CeilDivide(pairs, 2 * processors) <= CeilDivide(pairs, processors);
  LaunchFew<kBits, kHalfScales, kSegment, kTokens, 2>(backend, arguments, two ? 2 * processors : processors);
  return true;
}

}  // namespace

bool RunUniformFew(CudaBackend& backend, const UniformFormat& format, int64_t segment,
                   const UniformArguments& arguments) {
  if (arguments.tokens > 4) return false;
  bool done = false;
  ForUniformFormat(format, segment, [&]<int kBits, bool kHalfScales, int kSegment>() {
    done = arguments.tokens == 1   ? LaunchRows<kBits, kHalfScales, kSegment, 1>(backend, arguments)
           : arguments.tokens == 2 ? LaunchRows<kBits, kHalfScales, kSegment, 2>(backend, arguments)
                                   : LaunchRows<kBits, kHalfScales, kSegment, 4>(backend, arguments);
  });
  return done;
}

}  // namespace ternion::cuda
