// Uniform weights by up to four tokens: bound by reading the weights. Warp w of eight multiplies part w of a tile of 16
// outputs, and of further tiles; it streams its share of them through a ring of its own in shared memory. The rings are full
// before the kernels before this one are done; then the block rounds the rows of x for itself: a kernel for that would cost
// more.
//
// Eight columns are four tokens of one segment, two of two or one of four: where tokens are fewer, a lane takes of the
// multiplications by several segments' weights that by its columns' segment, and the float operations are done once.
#include <algorithm>

#include "kernels/cuda/uniform_linear.cuh"

namespace ternion::cuda {
namespace {

constexpr int64_t kMostInputBytes = 140 << 10;  // of rounded inputs, in shared memory
constexpr int kStages = 4;                      // of a warp's ring

extern __shared__ uint4 few_memory[];

// A warp's share of weights in the order of use: the units of its part, tile by tile.
template <typename Stage>
class UnitRing {
 public:
  __device__ __forceinline__ UnitRing(const UniformArguments& arguments, int part, int64_t first_tile,
                                      int64_t tile_stride, Stage* ring)
      : arguments_(arguments),
        ring_(ring),
        begin_(arguments.PartBegin(part)),
        end_(arguments.PartBegin(part + 1)),
        tile_step_(tile_stride * arguments.tile_bytes),
        unit_(begin_),
        tile_(arguments.tiles + first_tile * arguments.tile_bytes),
        from_(FirstUnit()) {
    const int tiles = static_cast<int>(CeilDivide(arguments.outputs, kUniformTile) - first_tile);
    const int stride = static_cast<int>(tile_stride);
    left_ = (max(tiles, 0) + stride - 1) / stride * (end_ - begin_);
#pragma unroll 1
    for (int i = 0; i < kStages - 1; ++i) Fill();
  }

  // The next unit; the one before is done with.
  __device__ __forceinline__ const Stage& Next() {
    AwaitCopies<kStages - 2>();
    __syncwarp();
    const Stage& next = ring_[read_];
    read_ = read_ + 1 == kStages ? 0 : read_ + 1;
    Fill();
    return next;
  }

 private:
  __device__ __forceinline__ const uint8_t* FirstUnit() const {
    return tile_ + arguments_.groups_bytes + int64_t{begin_} * sizeof(Stage::codes);
  }
  // While there is something left.
  __device__ __forceinline__ void Fill() {
    if (left_ > 0) {
      --left_;
      ring_[write_].Start(arguments_, tile_, from_, unit_);
      from_ += sizeof(Stage::codes);
      if (++unit_ == end_) {
        unit_ = begin_;
        tile_ += tile_step_;
        from_ = FirstUnit();
      }
      write_ = write_ + 1 == kStages ? 0 : write_ + 1;
    }
    CommitCopies();
  }

  const UniformArguments& arguments_;
  Stage* const ring_;
  const int begin_, end_;
  const int64_t tile_step_;
  // To be filled next.
  int unit_;
  const uint8_t* tile_;
  const uint8_t* from_;
  int left_;
  int write_ = 0, read_ = 0;
};

// Outputs whose sums a lane has.
template <int kTokens>
constexpr int kLaneOutputs = kTokens == 1 ? 1 : 2;

// A lane's weights of a unit.
template <int kBits, bool kHalfScales, int kSegment, int kTokens>
struct FewWeights {
  using Inputs = UnitInputs<kSegment, kTokens>;
  static constexpr int kSegments = Inputs::kSegments, kSets = Inputs::kSets;
  static constexpr int kOutputs = kLaneOutputs<kTokens>;

  LaneCodes<kBits, kSegment> codes;
  GroupPair<kHalfScales> groups[kSets];  // of the segments whose sums the lane has

  __device__ __forceinline__ void Load(const UnitStage<kBits, kHalfScales, kSegment>& stage) {
    codes.Load(stage.codes);
#pragma unroll
    for (int s = 0; s < kSets; ++s)
      groups[s] = stage.groups[s * kSegments + Lane() % 4 / kTokens][Lane() / 4];
  }

  // Adds the unit's segments, of outputs g and g + 8 by token q % kTokens; of one token, of output g + 8 (q % 2).
  __device__ __forceinline__ void AddUnit(const Inputs& inputs, float (&partial)[kOutputs]) const {
    float terms[kSets][2];
#pragma unroll
    for (int s = 0; s < kSets; ++s) {
      const LaneInputs<kSegment> mine = inputs.operands[s][Lane()];
      const SegmentFactors factors = inputs.factors[s][Lane() % 4];
      int sums[kSegments][4];
#pragma unroll
      for (int r = 0; r < kSegments; ++r) {
        uint32_t a[4];
        codes.Operand(s * kSegments + r, 0, a);
        FirstByteMma(a, mine.steps[0].x, mine.steps[0].y, sums[r]);
#pragma unroll
        for (int step = 1; step < codes.kSteps; ++step) {
          codes.Operand(s * kSegments + r, step, a);
          ByteMma(a, mine.steps[step].x, mine.steps[step].y, sums[r]);
        }
      }
      TakeColumns(sums);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        terms[s][i] =
            SegmentTerm(sums[0][2 * i], sums[0][2 * i + 1], groups[s].zero(i), groups[s].scale(i), factors);
      }
    }
    AddPairs(terms, partial);
  }

 private:
  // sums[0] = those of the segment that the lane's columns have.
  __device__ __forceinline__ static void TakeColumns(int (&sums)[kSegments][4]) {
    const int mine = Lane() % 4 / kTokens;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (kSegments == 2) sums[0][i] = mine == 0 ? sums[0][i] : sums[1][i];
      if constexpr (kSegments == 4) {
        const int low = mine % 2 == 0 ? sums[0][i] : sums[1][i];
        const int high = mine % 2 == 0 ? sums[2][i] : sums[3][i];
        sums[0][i] = mine < 2 ? low : high;
      }
    }
  }

  // Adds the terms of the unit's segments 0 and 1, then of 2 and 3.
  __device__ __forceinline__ static void AddPairs(const float (&terms)[kSets][2],
                                                  float (&partial)[kOutputs]) {
    if constexpr (kTokens == 1) {
      // Of two neighbours each goes on with one output.
      const bool odd = Lane() % 2 == 1;
      const float kept = odd ? terms[0][1] : terms[0][0], sent = odd ? terms[0][0] : terms[0][1];
      const float pair = kept + __shfl_xor_sync(kAllLanes, sent, 1);
      const float other = __shfl_xor_sync(kAllLanes, pair, 2);
      const bool is_first = Lane() % 4 < 2;
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

// Adds the parts of kRows tiles from `tile` on, in order.
template <int kRows, int kTokens>
__device__ __forceinline__ void StoreTiles(const UniformArguments& arguments, int64_t tile,
                                           const float (&partial)[kLaneOutputs<kTokens>],
                                           float (&partials)[kRows][kParts][kTokens][kUniformTile]) {
  const int row = WarpIndex() / kParts, part = WarpIndex() % kParts;
  const int column = Lane() % 4;
  if constexpr (kTokens == 1) {
    if (column < 2) partials[row][part][0][Lane() / 4 + 8 * column] = partial[0];
  } else if (column < kTokens) {
#pragma unroll
    for (int i = 0; i < 2; ++i) partials[row][part][column][Lane() / 4 + 8 * i] = partial[i];
  }
  __syncthreads();
  const int i = static_cast<int>(threadIdx.x);
  if (i >= kRows * kTokens * kUniformTile) return;
  const int output = i % kUniformTile, token = i / kUniformTile % kTokens, of = i / kUniformTile / kTokens;
  float sum = 0;
#pragma unroll
  for (int p = 0; p < kParts; ++p) sum += partials[of][p][token][output];
  StoreUniform(arguments, token, (tile + of) * kUniformTile + output, sum);
}

// A part's warps, one a row, round its units; the next one is on its way meanwhile.
template <int kBits, int kSegment, int kTokens, int kRows>
__device__ __forceinline__ void RoundPart(const UniformArguments& arguments, int part,
                                          UnitInputs<kSegment, kTokens>* inputs) {
  const int end = arguments.PartBegin(part + 1);
  int unit = arguments.PartBegin(part) + WarpIndex() / kParts;
  FloatUnit<kSegment, kTokens> next;
  if (unit < end) next.Load(arguments, 0, unit);
  for (; unit < end; unit += kRows) {
    const FloatUnit<kSegment, kTokens> from = next;
    if (unit + kRows < end) next.Load(arguments, 0, unit + kRows);
    RoundUnit<kBits>(from, inputs[unit]);
  }
  if constexpr (kRows == 1) {
    __syncwarp();
  } else {
    __barrier_sync_count(1 + part, kRows * kWarp);
  }
}

// A block has tiles kRows * (blockIdx.x + i * gridDim.x) .., kRows of them at a time.
template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows>
__global__ void __launch_bounds__(kRows* kParts* kWarp, kTokens == 4 ? 2 / kRows : 4 / kRows)
    UniformFew(UniformArguments arguments) {
  StartNext();
  using Stage = UnitStage<kBits, kHalfScales, kSegment>;
  using Inputs = UnitInputs<kSegment, kTokens>;
  __shared__ float partials[2][kRows][kParts][kTokens][kUniformTile];
  Stage* const rings = reinterpret_cast<Stage*>(few_memory);                           // [warps, kStages]
  Inputs* const inputs = reinterpret_cast<Inputs*>(rings + kRows * kParts * kStages);  // [units]
  const int row = WarpIndex() / kParts, part = WarpIndex() % kParts;
  const int64_t tiles = CeilDivide(arguments.outputs, kUniformTile), stride = int64_t{gridDim.x} * kRows;
  const int64_t first_tile = int64_t{blockIdx.x} * kRows;
  UnitRing<Stage> ring(arguments, part, first_tile + row, stride, rings + WarpIndex() * kStages);
  WaitForPrevious();
  RoundPart<kBits, kSegment, kTokens, kRows>(arguments, part, inputs);
  const int begin = arguments.PartBegin(part), end = arguments.PartBegin(part + 1);
  int turn = 0;
  for (int64_t tile = first_tile; tile < tiles; tile += stride, turn ^= 1) {
    float partial[kLaneOutputs<kTokens>] = {};
    for (int unit = tile + row < tiles ? begin : end; unit < end; ++unit) {
      FewWeights<kBits, kHalfScales, kSegment, kTokens> weights;
      weights.Load(ring.Next());
      weights.AddUnit(inputs[unit], partial);
    }
    StoreTiles<kRows, kTokens>(arguments, tile, partial, partials[turn]);
  }
}

// Bytes of shared memory for the rounded inputs.
template <int kSegment, int kTokens>
int64_t InputBytes(int64_t units) {
  return units * static_cast<int64_t>(sizeof(UnitInputs<kSegment, kTokens>));
}

template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows>
void LaunchFew(CudaBackend& backend, const UniformArguments& arguments) {
  constexpr int64_t kRingBytes = kRows * kParts * kStages * sizeof(UnitStage<kBits, kHalfScales, kSegment>);
  const size_t bytes = static_cast<size_t>(kRingBytes + InputBytes<kSegment, kTokens>(arguments.units));
  const int64_t blocks = std::min(CeilDivide(UniformTiles(arguments.outputs), kRows),
                                  int64_t{2 / kRows} * backend.multiprocessors());
  const auto kernel = UniformFew<kBits, kHalfScales, kSegment, kTokens, kRows>;
  AllowSharedMemory(kernel, bytes);
  Launch(backend.launch_stream(), kernel,
         {dim3(static_cast<unsigned>(blocks)), dim3(kRows * kParts * kWarp), bytes}, arguments);
}

template <int kBits, bool kHalfScales, int kSegment, int kTokens>
void LaunchRows(CudaBackend& backend, const UniformArguments& arguments) {
  // Two tiles at a time share the rounding, where no multiprocessor has more to do for it.
  const int64_t tiles = UniformTiles(arguments.outputs), processors = backend.multiprocessors();
  if (2 * CeilDivide(CeilDivide(tiles, 2), processors) <= CeilDivide(tiles, processors)) {
    return LaunchFew<kBits, kHalfScales, kSegment, kTokens, 2>(backend, arguments);
  }
  LaunchFew<kBits, kHalfScales, kSegment, kTokens, 1>(backend, arguments);
}

}  // namespace

bool FitsUniformFew(int64_t segment, const UniformArguments& arguments) {
  if (arguments.tokens > 4) return false;
  // The largest layout, that of four tokens, of long segments.
  const int64_t unit = segment == kLongSegment ? InputBytes<static_cast<int>(kLongSegment), 4>(1)
                                               : InputBytes<static_cast<int>(kShortSegment), 4>(1);
  const int64_t columns = arguments.tokens < 3 ? arguments.tokens : 4;
  return arguments.units * unit * columns / 4 <= kMostInputBytes;
}

void RunUniformFew(CudaBackend& backend, const UniformFormat& format, int64_t segment,
                   const UniformArguments& arguments) {
  ForUniformFormat(format, segment, [&]<int kBits, bool kHalfScales, int kSegment>() {
    if (arguments.tokens == 1) return LaunchRows<kBits, kHalfScales, kSegment, 1>(backend, arguments);
    if (arguments.tokens == 2) return LaunchRows<kBits, kHalfScales, kSegment, 2>(backend, arguments);
    LaunchRows<kBits, kHalfScales, kSegment, 4>(backend, arguments);
  });
}

}  // namespace ternion::cuda
