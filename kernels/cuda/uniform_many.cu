// Uniform weights by more than four tokens (uniform_tile.cuh). Of few tokens or outputs a block's eight warps have the eight
// parts of two tiles of outputs, so that there are enough of them to keep memory busy. Else they have different outputs and
// tokens, whose weights and inputs pass through shared memory a unit at a time; bound by the float operations after each
// multiplication, some twenty instructions for 16 outputs x 4 tokens x 64 inputs.
#include "kernels/cuda/uniform_linear.cuh"
#include "kernels/cuda/uniform_round.cuh"
#include "kernels/cuda/uniform_tile.cuh"

namespace ternion::cuda {
namespace {

constexpr int64_t kPartedTokens = 16;  // up to these in any case
constexpr int kFour = 4;
constexpr int kTiles = 2;  // of a warp

constexpr int kRoundThreads = 256;

// to [fours of tokens, units]
template <int kBits, int kSegment>
__global__ void __launch_bounds__(kRoundThreads)
    RoundRows(UniformArguments arguments, int fours, UnitInputs<kSegment, kFour>* to) {
  StartNext();
  WaitForPrevious();
  const int64_t index = (int64_t{blockIdx.x} * kRoundThreads + threadIdx.x) / kWarp;
  if (index >= int64_t{fours} * arguments.units) return;
  FloatUnit<kSegment, kFour> from;
  from.Load(arguments, index / arguments.units * kFour, static_cast<int>(index % arguments.units));
  RoundedUnit<kBits, kSegment, kFour> rounded;
  rounded.Round(from);
  rounded.Store(to[index]);
}

// A lane's weights of a unit.
template <int kBits, bool kHalfScales, int kSegment>
struct TileWeights {
  LaneCodes<kBits, kSegment> codes[kTiles];
  GroupPair<kHalfScales> groups[kTiles][kUnitFields];
};

template <int kBits, bool kHalfScales, int kSegment>
__device__ __forceinline__ void LoadWeights(const UniformArguments& arguments, int64_t first_tile, int unit,
                                            TileWeights<kBits, kHalfScales, kSegment>& weights) {
  const int64_t last = arguments.tile_count - 1;
#pragma unroll
  for (int o = 0; o < kTiles; ++o) {
    const uint8_t* const tile = arguments.tiles + min(first_tile + o, last) * arguments.tile_bytes;
    weights.codes[o].Load(tile + arguments.groups_bytes + int64_t{unit} * weights.codes[o].kBytes);
#pragma unroll
    for (int f = 0; f < kUnitFields; ++f) {
      weights.groups[o][f] = LoadGroup<kHalfScales>(tile, arguments.GroupOf(unit * kUnitFields + f));
    }
  }
}

// Grid: pairs of tiles, fours of tokens / kFours.     inputs [fours, units]
template <int kBits, bool kHalfScales, int kSegment, int kFours>
__global__ void __launch_bounds__(kParts* kWarp, kBits == 2 && kHalfScales && kFours == 2 ? 2 : 1)
    UniformParted(UniformArguments arguments, const UnitInputs<kSegment, kFour>* inputs) {
  StartNext();
  __shared__ float partials[kParts][kTiles][kFours][2][kWarp];
  const int part = WarpIndex(), end = arguments.PartBegin(part + 1);
  const int64_t first_tile = int64_t{blockIdx.x} * kTiles;
  const int64_t first_four = int64_t{blockIdx.y} * kFours;
  int unit = arguments.PartBegin(part);
  TileWeights<kBits, kHalfScales, kSegment> next;
  if (unit < end) LoadWeights(arguments, first_tile, unit, next);
  WaitForPrevious();
  float sums[kTiles][kFours][2] = {};
  for (; unit < end; ++unit) {
    const TileWeights<kBits, kHalfScales, kSegment> weights = next;
    if (unit + 1 < end) LoadWeights(arguments, first_tile, unit + 1, next);
    AddUnit(
        weights.codes, [&](int o, int f) { return weights.groups[o][f]; },
        inputs + first_four * arguments.units + unit, arguments.units, sums);
  }
#pragma unroll
  for (int o = 0; o < kTiles; ++o) {
#pragma unroll
    for (int t = 0; t < kFours; ++t) {
#pragma unroll
      for (int i = 0; i < 2; ++i) partials[part][o][t][i][LaneIndex()] = sums[o][t][i];
    }
  }
  __syncthreads();
  for (int i = WarpIndex(); i < kTiles * kFours * 2; i += kParts) {
    const int o = i / (kFours * 2), t = i / 2 % kFours;
    float sum = 0;
#pragma unroll
    for (int p = 0; p < kParts; ++p) sum += partials[p][o][t][i % 2][LaneIndex()];
    UniformOutput(arguments, (first_four + t) * kFour + LaneIndex() % 4,
                  (first_tile + o) * kUniformTile + LaneIndex() / 4 + 8 * (i % 2))
        .Store(sum);
  }
}

constexpr int kBlockWarps = 8;
constexpr int kBlockThreads = kBlockWarps * kWarp;
constexpr int kWarpFours = 4;    // of tokens
constexpr int kWarpColumns = 2;  // warps beside each other over tokens
constexpr int kBlockFours = kWarpFours * kWarpColumns;
constexpr int kBlockTiles = kTiles * kBlockWarps / kWarpColumns;

// What a block needs of a unit.
template <int kBits, bool kHalfScales, int kSegment>
struct BlockStage {
  UnitStage<kBits, kHalfScales, kSegment> tiles[kBlockTiles];
  UnitInputs<kSegment, kFour> inputs[kBlockFours];
};
static_assert(kBlockTiles == kBlockWarps && kBlockFours == kBlockWarps);

extern __shared__ uint4 many_memory[];

// Every warp copies a tile and four tokens.
template <int kBits, bool kHalfScales, int kSegment>
__device__ __forceinline__ void StartUnit(const UniformArguments& arguments, const uint8_t* tile,
                                          const UnitInputs<kSegment, kFour>* inputs, int unit,
                                          BlockStage<kBits, kHalfScales, kSegment>& stage) {
  UnitStage<kBits, kHalfScales, kSegment>& weights = stage.tiles[WarpIndex()];
  weights.Start(weights.LaneCodesOf(arguments, tile, unit), tile + weights.GroupOffset(arguments, unit));
  constexpr int kPiece = 16;
  const uint8_t* const from = reinterpret_cast<const uint8_t*>(inputs + unit);
  const uint32_t to = SharedAddress(stage.inputs + WarpIndex());
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(*inputs)); i += kWarp * kPiece) {
    const int at = i + LaneIndex() * kPiece;
    if (at < static_cast<int>(sizeof(*inputs))) CopyUnit(to + at, from + at);
  }
  CommitCopies();
}

// Grid: blocks of the same outputs follow each other, so that weights are read from memory once.   inputs [fours, units]
template <int kBits, bool kHalfScales, int kSegment>
__global__ void __launch_bounds__(kBlockThreads, 2)
    UniformMany(UniformArguments arguments, int columns, const UnitInputs<kSegment, kFour>* inputs) {
  StartNext();
  using Stage = BlockStage<kBits, kHalfScales, kSegment>;
  Stage* const stages = reinterpret_cast<Stage*>(many_memory);  // two
  const int64_t block_tile = int64_t{blockIdx.x} / columns * kBlockTiles;
  const int64_t block_four = int64_t{blockIdx.x} % columns * kBlockFours;
  const int warp_tile = WarpIndex() / kWarpColumns * kTiles,
            warp_four = WarpIndex() % kWarpColumns * kWarpFours;
  const int64_t last_tile = arguments.tile_count - 1;
  const uint8_t* const my_tile =
      arguments.tiles + min(block_tile + WarpIndex(), last_tile) * arguments.tile_bytes;
  const UnitInputs<kSegment, kFour>* const my_inputs = inputs + (block_four + WarpIndex()) * arguments.units;
  WaitForPrevious();
  StartUnit(arguments, my_tile, my_inputs, 0, stages[0]);
  float sums[kTiles][kWarpFours][2] = {}, partial[kTiles][kWarpFours][2] = {};
  int part = 0;
  for (int unit = 0; unit < arguments.units; ++unit) {
    AwaitCopies<0>();
    __syncthreads();  // the unit is there, and the one before is done with
    if (unit + 1 < arguments.units) {
      StartUnit(arguments, my_tile, my_inputs, unit + 1, stages[(unit + 1) % 2]);
    }
    const Stage& stage = stages[unit % 2];
    LaneCodes<kBits, kSegment> codes[kTiles];
#pragma unroll
    for (int o = 0; o < kTiles; ++o) codes[o].Load(stage.tiles[warp_tile + o].codes);
    AddUnit(
        codes, [&](int o, int f) { return stage.tiles[warp_tile + o].groups[f][LaneIndex() / 4]; },
        stage.inputs + warp_four, 1, partial);
    if (unit + 1 < arguments.PartBegin(part + 1)) continue;
    // Parts without units add nothing.
    while (part < kParts && arguments.PartBegin(part + 1) <= unit + 1) ++part;
#pragma unroll
    for (int o = 0; o < kTiles; ++o) {
#pragma unroll
      for (int t = 0; t < kWarpFours; ++t) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          sums[o][t][i] += partial[o][t][i];
          partial[o][t][i] = 0;
        }
      }
    }
  }
#pragma unroll
  for (int o = 0; o < kTiles; ++o) {
#pragma unroll
    for (int t = 0; t < kWarpFours; ++t) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        UniformOutput(arguments, (block_four + warp_four + t) * kFour + LaneIndex() % 4,
                      (block_tile + warp_tile + o) * kUniformTile + LaneIndex() / 4 + 8 * i)
            .Store(sums[o][t][i]);
      }
    }
  }
}

template <int kBits, bool kHalfScales, int kSegment>
void LaunchMany(CudaBackend& backend, const UniformArguments& arguments,
                const UnitInputs<kSegment, kFour>* inputs) {
  constexpr size_t kBytes = 2 * sizeof(BlockStage<kBits, kHalfScales, kSegment>);
  const int64_t columns = CeilDivide(arguments.tokens, kBlockFours * kFour);
  const int64_t blocks = columns * CeilDivide(arguments.tile_count, kBlockTiles);
  const auto kernel = UniformMany<kBits, kHalfScales, kSegment>;
  AllowSharedMemory(kernel, kBytes);
  Launch(backend.launch_stream(), kernel, {dim3(static_cast<unsigned>(blocks)), dim3(kBlockThreads), kBytes},
         arguments, static_cast<int>(columns), inputs);
}

template <int kBits, bool kHalfScales, int kSegment, int kFours>
void LaunchParted(CudaBackend& backend, const UniformArguments& arguments,
                  const UnitInputs<kSegment, kFour>* inputs) {
  Launch(backend.launch_stream(), UniformParted<kBits, kHalfScales, kSegment, kFours>,
         {dim3(static_cast<unsigned>(CeilDivide(arguments.tile_count, kTiles)),
               static_cast<unsigned>(CeilDivide(arguments.tokens, kFours * kFour))),
          dim3(kParts * kWarp)},
         arguments, inputs);
}

}  // namespace

void RunUniformMany(CudaBackend& backend, const UniformFormat& format, int64_t segment,
                    const UniformArguments& arguments) {
  // Whole blocks of tokens.
  const int64_t fours = CeilDivide(arguments.tokens, kBlockFours * kFour) * kBlockFours;
  ForUniformFormat(format, segment, [&]<int kBits, bool kHalfScales, int kSegment>() {
    UnitInputs<kSegment, kFour>* const inputs =
        backend.Scratch<UnitInputs<kSegment, kFour>>(Purpose::kCodes, fours * arguments.units);
    Launch(backend.launch_stream(), RoundRows<kBits, kSegment>,
           {dim3(static_cast<unsigned>(CeilDivide(fours * arguments.units * kWarp, kRoundThreads))),
            dim3(kRoundThreads)},
           arguments, static_cast<int>(fours), inputs);
    // Blocks for nearly all multiprocessors.
    const int64_t blocks =
        CeilDivide(arguments.tokens, kBlockFours * kFour) * CeilDivide(arguments.tile_count, kBlockTiles);
    if (arguments.tokens > kPartedTokens && blocks * 10 >= int64_t{9} * backend.multiprocessors()) {
      return LaunchMany<kBits, kHalfScales>(backend, arguments, inputs);
    }
    if (arguments.tokens > 8)
      return LaunchParted<kBits, kHalfScales, kSegment, 4>(backend, arguments, inputs);
    LaunchParted<kBits, kHalfScales, kSegment, 2>(backend, arguments, inputs);
  });
}

}  // namespace ternion::cuda
