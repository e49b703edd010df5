// Uniform weights by up to four tokens: bound by reading the weights. Warp w of eight multiplies part w of a tile of 16
// outputs, and of further tiles. Its first weights are on their way before the block rounds the rows of x, for itself, into
// shared memory: a kernel before this one would cost more.
//
// Eight columns are four tokens of one segment, two of two or one of four: where tokens are fewer, columns of other segments
// are zeros, so that a unit's segments meet in the same sums and the float operations are done once.
#include <algorithm>

#include "kernels/cuda/uniform_linear.cuh"

namespace ternion::cuda {
namespace {

constexpr int64_t kMostInputBytes = 200 << 10;  // of rounded inputs, in shared memory
// Units of a warp on their way: as many as registers hold.
template <int kTokens>
constexpr int kAhead = kTokens == 4 ? 2 : 4;

extern __shared__ uint4 few_memory[];

// A lane's weights of a unit.
template <int kBits, bool kHalfScales, int kSegment, int kTokens>
struct FewWeights {
  using Inputs = UnitInputs<kSegment, kTokens>;
  static constexpr int kSegments = Inputs::kSegments, kSets = Inputs::kSets;

  LaneCodes<kBits, kSegment> codes;
  GroupPair<kHalfScales> groups[kSets];  // of the segments whose sums the lane has

  __device__ __forceinline__ void Load(const UniformArguments& arguments, const uint8_t* tile, int unit) {
    codes.Load(tile + arguments.groups_bytes + int64_t{unit} * codes.kBytes);
#pragma unroll
    for (int s = 0; s < kSets; ++s) {
      const int f = s * kSegments + Lane() % 4 / kTokens;
      groups[s] = LoadGroup<kHalfScales>(tile, arguments.GroupOf(unit * kUnitFields + f));
    }
  }

  // partial[i] += the unit's segments in order, of output g + 8 i by token q % kTokens.
  __device__ __forceinline__ void AddUnit(const Inputs& inputs, float (&partial)[2]) const {
#pragma unroll
    for (int s = 0; s < kSets; ++s) {
      const LaneInputs<kSegment> mine = inputs.operands[s][Lane()];
      const SegmentFactors factors = inputs.factors[s][Lane() % 4];
      int sums[2][4];  // two, that multiplications wait less for each other
#pragma unroll
      for (int r = 0; r < kSegments; ++r) {
        const bool has_column = Lane() / 8 / kTokens == r;
#pragma unroll
        for (int step = 0; step < codes.kSteps; ++step) {
          const uint2 b = has_column ? mine.steps[step] : uint2{0, 0};
          uint32_t a[4];
          codes.Operand(s * kSegments + r, step, a);
          const int n = r * codes.kSteps + step;
          if (n < 2) {
            FirstByteMma(a, b.x, b.y, sums[n]);
          } else {
            ByteMma(a, b.x, b.y, sums[n % 2]);
          }
        }
      }
      float terms[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        int high = sums[0][2 * i], low = sums[0][2 * i + 1];
        if constexpr (kSegments * codes.kSteps > 1) {
          high += sums[1][2 * i];
          low += sums[1][2 * i + 1];
        }
        terms[i] = SegmentTerm(high, low, groups[s].zero(i), groups[s].scale(i), factors);
      }
#pragma unroll
      for (int r = 0; r < kSegments; ++r) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          partial[i] +=
              kSegments == 1 ? terms[i] : __shfl_sync(kAllLanes, terms[i], r * kTokens + Lane() % kTokens, 4);
        }
      }
    }
  }
};

// Adds the parts of kRows tiles from `tile` on, in order.
template <int kRows, int kTokens>
__device__ __forceinline__ void StoreTiles(const UniformArguments& arguments, int64_t tile,
                                           const float (&partial)[2],
                                           float (&partials)[kRows][kParts][kTokens][kUniformTile]) {
  const int row = WarpIndex() / kParts, part = WarpIndex() % kParts;
  if (Lane() % 4 < kTokens) {
#pragma unroll
    for (int i = 0; i < 2; ++i) partials[row][part][Lane() % 4][Lane() / 4 + 8 * i] = partial[i];
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

// Where a warp is: a unit of its part of a tile. A part without units counts as one unit that does not exist.
struct UnitCursor {
  int begin, end;
  int64_t tile;
  int unit;

  __device__ __forceinline__ bool exists(int64_t tiles) const { return unit < end && tile < tiles; }
  __device__ __forceinline__ bool is_last() const { return unit + 1 >= end; }
  __device__ __forceinline__ void Advance(int64_t stride) {
    tile += is_last() ? stride : 0;
    unit = is_last() ? begin : unit + 1;
  }
};

// The warps of a block round all units; the next one is on its way meanwhile.
template <int kBits, int kSegment, int kTokens, int kWarps>
__device__ __forceinline__ void RoundAll(const UniformArguments& arguments,
                                         UnitInputs<kSegment, kTokens>* inputs) {
  FloatUnit<kSegment, kTokens> next;
  if (WarpIndex() < arguments.units) next.Load(arguments, 0, WarpIndex());
  for (int unit = WarpIndex(); unit < arguments.units; unit += kWarps) {
    const FloatUnit<kSegment, kTokens> from = next;
    if (unit + kWarps < arguments.units) next.Load(arguments, 0, unit + kWarps);
    RoundUnit<kBits>(from, inputs[unit]);
  }
}

// A block has tiles kRows * (blockIdx.x + i * gridDim.x) .., kRows of them at a time.
template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows>
__global__ void __launch_bounds__(kRows* kParts* kWarp, 2 / kRows) UniformFew(UniformArguments arguments) {
  StartNext();
  using Inputs = UnitInputs<kSegment, kTokens>;
  constexpr int kWarps = kRows * kParts;
  Inputs* const inputs = reinterpret_cast<Inputs*>(few_memory);  // [units]
  __shared__ float partials[2][kRows][kParts][kTokens][kUniformTile];
  const int row = WarpIndex() / kParts, part = WarpIndex() % kParts;
  const int64_t tiles = CeilDivide(arguments.outputs, kUniformTile), stride = int64_t{gridDim.x} * kRows;
  UnitCursor at = {arguments.PartBegin(part), arguments.PartBegin(part + 1),
                   int64_t{blockIdx.x} * kRows + row, arguments.PartBegin(part)};
  UnitCursor next = at;
  FewWeights<kBits, kHalfScales, kSegment, kTokens> ahead[kAhead<kTokens>];
  const auto load_next = [&](int j) {
    if (next.exists(tiles)) {
      ahead[j].Load(arguments, arguments.tiles + next.tile * arguments.tile_bytes, next.unit);
    }
    next.Advance(stride);
  };
#pragma unroll
  for (int j = 0; j < kAhead<kTokens>; ++j) load_next(j);
  WaitForPrevious();
  RoundAll<kBits, kSegment, kTokens, kWarps>(arguments, inputs);
  __syncthreads();
  float partial[2] = {};
  for (int turn = 0; at.tile - row < tiles;) {
#pragma unroll
    for (int j = 0; j < kAhead<kTokens>; ++j) {
      if (at.tile - row >= tiles) break;
      if (at.exists(tiles)) ahead[j].AddUnit(inputs[at.unit], partial);
      load_next(j);
      if (at.is_last()) {
        StoreTiles<kRows, kTokens>(arguments, at.tile - row, partial, partials[turn % 2]);
        partial[0] = partial[1] = 0;
        ++turn;
      }
      at.Advance(stride);
    }
  }
}

// Bytes of shared memory for the rounded inputs.
template <int kSegment, int kTokens>
int64_t InputBytes(int64_t units) {
  return units * static_cast<int64_t>(sizeof(UnitInputs<kSegment, kTokens>));
}

template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows>
void LaunchFew(CudaBackend& backend, const UniformArguments& arguments) {
  const size_t bytes = static_cast<size_t>(InputBytes<kSegment, kTokens>(arguments.units));
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
