// Uniform weights by more than four tokens. One kernel rounds the rows of x into operands; then a warp multiplies a tile of
// 16 outputs with 16 tokens over all inputs. It unpacks a weight once for them; its eight partial sums are registers. The
// operands of x of eight units pass through shared memory, for all warps of a block. Bound by the float operations after each
// multiplication, some fifteen instructions for 16 outputs x 4 tokens x 32 inputs.
#include "kernels/cuda/uniform_linear.cuh"

namespace ternion::cuda {
namespace {

constexpr int kTiles = 4;  // of tokens
constexpr int kBlockTokens = kTiles * kTileTokens;
constexpr int kChunkUnits = static_cast<int>(kUniformSums);
constexpr int kChunkSegments = kChunkUnits * kUnitSegments;
constexpr int kRoundThreads = 256;
constexpr int kSegmentChannels = static_cast<int>(kInputSegment);

// A segment of four tokens, as the multiplications take it.
struct SegmentInputs {
  uint2 operands[kWarp];  // column 2 t has token t's high bytes, 2 t + 1 its low ones
  SegmentFactors factors[kTileTokens];
};
constexpr int kSegmentUnits = sizeof(SegmentInputs) / sizeof(uint4);
static_assert(sizeof(SegmentInputs) % sizeof(uint4) == 0);

// Eight lanes round a segment of a token. Segments and tokens that do not exist are zeros.     to [token tiles, segments]
__global__ void __launch_bounds__(kRoundThreads)
    RoundRows(UniformArguments arguments, int segments, int64_t rounded_segments, SegmentInputs* to) {
  StartNext();
  WaitForPrevious();
  const int64_t index =
      (int64_t{blockIdx.x} * kRoundThreads + threadIdx.x) / 8;  // token * segments + segment
  const int64_t token = index / segments;
  const int segment = static_cast<int>(index % segments), share = Lane() % 8;
  float4 x = {0, 0, 0, 0};
  if (index < rounded_segments && token < arguments.tokens && segment < arguments.segments) {
    const float* const row = arguments.x + token * arguments.segments * kSegmentChannels;
    x = *reinterpret_cast<const float4*>(row + segment * kSegmentChannels + share * 4);
  }
  const RoundedFour rounded = RoundInputs(x);
  if (index >= rounded_segments) return;
  SegmentInputs& place = to[token / kTileTokens * segments + segment];
  const int column = static_cast<int>(token % kTileTokens) * 2;
  uint32_t* const columns = reinterpret_cast<uint32_t*>(place.operands);
  columns[column * 8 + share] = rounded.high;
  columns[(column + 1) * 8 + share] = rounded.low;
  if (share == 0) place.factors[token % kTileTokens] = rounded.factors;
}

using ChunkInputs = SegmentInputs[kTiles][kChunkSegments];

extern __shared__ uint4 many_memory[];

// Copies the block's tokens of a chunk; the operands end with whole units.
template <int kThreads>
__device__ __forceinline__ void CopyChunk(const SegmentInputs* from, int segments, int first) {
  const int n = min(kChunkSegments, segments - first) * kSegmentUnits;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const uint4* const source = reinterpret_cast<const uint4*>(from + int64_t{tile} * segments + first);
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
      many_memory[tile * kChunkSegments * kSegmentUnits + i] = source[i];
    }
  }
}

template <int kWarps, int kBits, bool kHalfScales, int kRun>
__global__ void __launch_bounds__(kWarps* kWarp)
    UniformMany(UniformArguments arguments, const SegmentInputs* rounded, int token_blocks) {
  StartNext();
  // Blocks of the same outputs follow each other, so that weights are read from memory once.
  const int64_t block = blockIdx.x % token_blocks;
  const int64_t tiles = CeilDivide(arguments.outputs, kUniformTile);
  const int64_t tile = int64_t{blockIdx.x / token_blocks} * kWarps + WarpIndex();
  const uint8_t* const weights = arguments.tiles + min(tile, tiles - 1) * arguments.tile_bytes;
  const int segments = arguments.units * kUnitSegments;
  const auto& inputs = *reinterpret_cast<const ChunkInputs*>(many_memory);
  float partial[kUniformSums][kTiles][2] = {};
  LaneUnit<kBits, kHalfScales, kRun> next;
  next.Load(arguments, weights, 0);
  WaitForPrevious();
  for (int chunk = 0; chunk < arguments.units; chunk += kChunkUnits) {
    __syncthreads();  // the chunk before is done with
    CopyChunk<kWarps * kWarp>(rounded + block * kTiles * segments, segments, chunk * kUnitSegments);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kChunkUnits; ++i) {
      if (chunk + i >= arguments.units) break;
      const LaneUnit<kBits, kHalfScales, kRun> unit = next;
      if (chunk + i + 1 < arguments.units) next.Load(arguments, weights, chunk + i + 1);
#pragma unroll
      for (int f = 0; f < kUnitSegments; ++f) {
        if ((chunk + i) * kUnitSegments + f >= arguments.segments) break;
        uint32_t a[4];
        unit.Operand(f, a);
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          const SegmentInputs& x = inputs[t][i * kUnitSegments + f];
          unit.AddSegment(f, a, x.operands[Lane()], x.factors[Lane() % 4], partial[i][t]);
        }
      }
    }
  }
  if (tile >= tiles) return;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float sums[kUniformSums];
#pragma unroll
      for (int s = 0; s < kUniformSums; ++s) sums[s] = partial[s][t][i];
      StoreUniform(arguments, block * kBlockTokens + t * kTileTokens + Lane() % 4,
                   tile * kUniformTile + Lane() / 4 + 8 * i, SumOfPartials(sums));
    }
  }
}

template <int kWarps>
void LaunchMany(CudaBackend& backend, const UniformFormat& format, const UniformArguments& arguments,
                const SegmentInputs* rounded, int64_t token_blocks) {
  const int64_t blocks = token_blocks * CeilDivide(UniformTiles(arguments.outputs), kWarps);
  ForUniformFormat(format, arguments.group_segments, [&]<int kBits, bool kHalfScales, int kRun>() {
    AllowSharedMemory(UniformMany<kWarps, kBits, kHalfScales, kRun>, sizeof(ChunkInputs));
    Launch(backend.launch_stream(), UniformMany<kWarps, kBits, kHalfScales, kRun>,
           {dim3(static_cast<unsigned>(blocks)), dim3(kWarps * kWarp), sizeof(ChunkInputs)}, arguments,
           rounded, static_cast<int>(token_blocks));
  });
}

}  // namespace

void RunUniformMany(CudaBackend& backend, const UniformFormat& format, const UniformArguments& arguments) {
  const int64_t token_blocks = CeilDivide(arguments.tokens, kBlockTokens);
  const int segments = arguments.units * kUnitSegments;
  const int64_t rounded_segments = token_blocks * kBlockTokens * segments;
  SegmentInputs* const rounded =
      backend.Scratch<SegmentInputs>(Purpose::kCodes, rounded_segments / kTileTokens);
  Launch(backend.launch_stream(), RoundRows,
         {dim3(static_cast<unsigned>(CeilDivide(rounded_segments * 8, kRoundThreads))), dim3(kRoundThreads)},
         arguments, segments, rounded_segments, rounded);
  // Few tokens: blocks of few outputs, so that there is one for every multiprocessor.
  if (token_blocks <= 2) return LaunchMany<2>(backend, format, arguments, rounded, token_blocks);
  LaunchMany<8>(backend, format, arguments, rounded, token_blocks);
}

}  // namespace ternion::cuda
