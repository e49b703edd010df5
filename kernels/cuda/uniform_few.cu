// Uniform weights by up to four tokens: bound by reading the weights, on small matrices by what a warp waits for. Eight warps are
// a team: warp w multiplies part w of one or two tiles of 16 outputs, and of further ones; it streams its share of them through
// a ring of its own in shared memory. The rings are full before the kernels before this one are done; then the warps round their
// part of the rows of x for their block: a kernel for that would cost more. Code that runs once must be fetched, so loops are
// not unrolled.
//
// Eight columns are four tokens of one segment, two of two or one of four: where tokens are fewer, a lane takes of the
// multiplications by several segments' weights that by its columns' segment, and the float operations are done once.
#include <algorithm>

#include "kernels/cuda/uniform_linear.cuh"
#include "kernels/cuda/uniform_ring.cuh"
#include "kernels/cuda/uniform_round.cuh"

namespace ternion::cuda {
namespace {

extern __shared__ uint4 few_memory[];

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

// Of a team: with a barrier for every turn, or for two of them where there are many.
template <int kTeams>
constexpr int kTurnsAtOnce = kTeams == 1 ? 2 : 1;

// The sums of a team's warps.
template <int kTokens, int kRows, int kTeams>
using TeamSums = float[kTurnsAtOnce<kTeams>][kRows][kTokens][kParts][kUniformTile];

template <int kTokens, int kRows>
__device__ __forceinline__ void StoreSums(const float (&partial)[kRows][kLaneOutputs<kTokens>], int part,
                                          float (&to)[kRows][kTokens][kParts][kUniformTile]) {
  const int column = LaneIndex() % 4;
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

// What a thread of a team adds and stores of the tiles of `turns` turns, the first of which begin with `tile`.
template <int kTokens, int kRows, int kTeams>
class TeamOutput {
 public:
  __device__ __forceinline__ TeamOutput(const UniformArguments& arguments, int tile, int stride, int turns)
      : i_(static_cast<int>(threadIdx.x % unsigned{kParts * kWarp})),
        has_one_(i_ < turns * kRows * kTokens * kUniformTile) {
    if (!has_one_) return;
    output_ = UniformOutput(arguments, i_ / kUniformTile % kTokens,
                            int64_t{tile + turn() * stride + row()} * kUniformTile + i_ % kUniformTile);
  }
  // The parts, in order.
  __device__ __forceinline__ void Store(const TeamSums<kTokens, kRows, kTeams>& sums) const {
    if (!has_one_) return;
    float sum = 0;
#pragma unroll
    for (int p = 0; p < kParts; ++p)
      sum += sums[turn()][row()][i_ / kUniformTile % kTokens][p][i_ % kUniformTile];
    output_.Store(sum);
  }

 private:
  __device__ __forceinline__ int row() const { return i_ / kUniformTile / kTokens % kRows; }
  __device__ __forceinline__ int turn() const { return i_ / kUniformTile / kTokens / kRows; }

  int i_;
  bool has_one_;
  UniformOutput output_;
};

// Barriers: of the teams' warps of a part, of the parts' warps of a team.
constexpr int kFirstPartBarrier = 1, kFirstTeamBarrier = kFirstPartBarrier + kParts;
constexpr int kMostTeams = 16 - kFirstTeamBarrier;

// A part's warps share its units and round them, kAtOnce at a time, so that one does not wait for the other; the next ones are
// on their way meanwhile. In the place of a unit that does not exist the last one is rounded again.
template <int kBits, int kSegment, int kTokens, int kTeams>
__device__ __forceinline__ void RoundPart(const UniformArguments& arguments, int part, int team,
                                          UnitInputs<kSegment, kTokens>* inputs) {
  constexpr int kAtOnce = kTokens == 1 && kTeams == 1 ? 2 : 1;
  const int part_begin = arguments.PartBegin(part), units = arguments.PartBegin(part + 1) - part_begin;
  const int begin = part_begin + units * team / kTeams, last = part_begin + units * (team + 1) / kTeams - 1;
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
  if constexpr (kTeams == 1) {
    __syncwarp();
  } else {
    SyncThreads<kTeams * kWarp>(kFirstPartBarrier + part);
  }
}

// A block has kTeams teams of eight warps, one for each part. Teams are numbered through all blocks, block by block within
// each; team i has tiles kRows * (i + k * teams) .., kRows of them at a time: `turns` times, the first `longer` teams once more.
template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows, int kTeams>
__global__ void __launch_bounds__(kTeams* kParts* kWarp, 2)  // this kernel's and the next one's
    UniformFew(UniformArguments arguments, int turns, int longer) {
  static_assert(kTeams <= kMostTeams);
  StartNext();
  using Product = FewProduct<kBits, kHalfScales, kSegment, kTokens>;
  using Ring = UnitRing<typename Product::Stage, kRows, (kTeams > 1)>;
  __shared__ TeamSums<kTokens, kRows, kTeams> sums[kTeams][2];
  auto* const rings = reinterpret_cast<typename Ring::Stages*>(few_memory);  // [warps, stages]
  auto* const inputs =
      reinterpret_cast<typename Product::Inputs*>(rings + kTeams * kParts * kRingStages);  // [units]
  // The compiler is to know that it is the same for all lanes.
  const int warp = __shfl_sync(kAllLanes, WarpIndex(), 0);
  const int part = warp % kParts, block_team = warp / kParts;
  const int team = block_team * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
  const int stride = static_cast<int>(gridDim.x) * kTeams * kRows;
  if (team < longer) ++turns;
  Ring ring(arguments, part, team * kRows, stride, turns, rings + warp * kRingStages);
  WaitForPrevious();
  RoundPart<kBits, kSegment, kTokens, kTeams>(arguments, part, block_team, inputs);
  const int begin = arguments.PartBegin(part), end = arguments.PartBegin(part + 1);
  int tile = team * kRows;
#pragma unroll 1
  for (int turn = 0; turn < turns; ++turn, tile += stride) {
    float partial[kRows][kLaneOutputs<kTokens>] = {};
#pragma unroll 1
    for (int unit = begin; unit < end; ++unit) {
      Product::Add(ring.Current(), inputs[unit], partial);
      ring.Advance();
    }
    constexpr int kTurns = kTurnsAtOnce<kTeams>;
    auto& turn_sums = sums[block_team][turn / kTurns % 2];
    const int before = turn % kTurns;
    StoreSums<kTokens, kRows>(partial, part, turn_sums[before]);
    const bool is_last = turn + 1 == turns;
    if (before + 1 < kTurns && !is_last) continue;
    if constexpr (kTeams > 1) {
      // The first part's warp stores all.
      static_assert(kTurns * kRows * kTokens * kUniformTile <= kWarp);
      if (is_last && part > 0) {
        ArriveAtBarrier<kParts * kWarp>(kFirstTeamBarrier + block_team);
        return;
      }
    }
    TeamOutput<kTokens, kRows, kTeams> output(arguments, tile - before * stride, stride, before + 1);
    SyncThreads<kParts * kWarp>(kFirstTeamBarrier + block_team);
    output.Store(turn_sums);
  }
}

// Dynamic shared memory: the warps' rings and the rounded inputs.
template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows, int kTeams>
size_t FewBytes(int64_t units) {
  return kTeams * kParts * kRingStages * kRows * sizeof(UnitStage<kBits, kHalfScales, kSegment>) +
         static_cast<size_t>(units) * sizeof(UnitInputs<kSegment, kTokens>);
}

template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows, int kTeams>
void LaunchFew(CudaBackend& backend, const UniformArguments& arguments, int64_t most_blocks) {
  const size_t bytes = FewBytes<kBits, kHalfScales, kSegment, kTokens, kRows, kTeams>(arguments.units);
  const int64_t groups = CeilDivide(arguments.tile_count, kRows), blocks = std::min(groups, most_blocks);
  const int64_t teams = blocks * kTeams;
  const auto kernel = UniformFew<kBits, kHalfScales, kSegment, kTokens, kRows, kTeams>;
  AllowSharedMemory(kernel, bytes);
  Launch(backend.launch_stream(), kernel,
         {dim3(static_cast<unsigned>(blocks)), dim3(kTeams * kParts * kWarp), bytes}, arguments,
         static_cast<int>(groups / teams), static_cast<int>(groups % teams));
}

// Whether a block has room.
template <int kBits, bool kHalfScales, int kSegment, int kTokens, int kRows, int kTeams>
bool Fits(const CudaBackend& backend, const UniformArguments& arguments) {
  return FewBytes<kBits, kHalfScales, kSegment, kTokens, kRows, kTeams>(arguments.units) +
             kTeams * 2 * sizeof(TeamSums<kTokens, kRows, kTeams>) <=
         backend.properties().sharedMemPerBlockOptin;
}

// False where two tiles at a time do not fit.
template <int kBits, bool kHalfScales, int kSegment, int kTokens>
bool LaunchRows(CudaBackend& backend, const UniformArguments& arguments) {
  if (!Fits<kBits, kHalfScales, kSegment, kTokens, 2, 1>(backend, arguments)) return false;
  const int64_t tiles = arguments.tile_count, processors = backend.multiprocessors();
  if constexpr (kTokens == 1) {
    // A tile for each team at most: then time is what a warp waits for, and the teams share the rounding.
    constexpr int kTeams = 3;
    if (tiles <= kTeams * processors &&
        Fits<kBits, kHalfScales, kSegment, kTokens, 1, kTeams>(backend, arguments)) {
      LaunchFew<kBits, kHalfScales, kSegment, kTokens, 1, kTeams>(backend, arguments, processors);
      return true;
    }
  }
  if (tiles <= 2 * processors) {
    LaunchFew<kBits, kHalfScales, kSegment, kTokens, 1, 1>(backend, arguments, processors);
    return true;
  }
  // Two blocks of a multiprocessor wait less, but where their last round would have less to do one is better.
  const int64_t pairs = CeilDivide(tiles, 2);
  const bool two = kTokens == 1 && 2 * CeilDivide(pairs, 2 * processors) <= CeilDivide(pairs, processors);
  LaunchFew<kBits, kHalfScales, kSegment, kTokens, 2, 1>(backend, arguments,
                                                         two ? 2 * processors : processors);
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
