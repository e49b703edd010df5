// Uniform weights by up to four tokens: bound by reading the weights. A block has a tile of 16 outputs; warp w of its eight
// multiplies the units that are w modulo 8, which is a partial sum of its own. Its weights are on their way before the block
// rounds the rows of x, for itself, into shared memory, 4,096 channels at a time: a kernel before this one would cost more.
#include "kernels/cuda/uniform_linear.cuh"

namespace ternion::cuda {
namespace {

constexpr int kWarps = static_cast<int>(kUniformSums);
constexpr int kThreads = kWarps * kWarp;
constexpr int kTurns = 4;  // units of a warp whose weights are in registers
constexpr int kSpanUnits = kTurns * kWarps;
constexpr int kSpanSegments = kSpanUnits * kUnitSegments;
constexpr int kSegmentChannels = static_cast<int>(kInputSegment);

// Rows of x for the block's multiplications.
struct SpanInputs {
  uint2 operands[kSpanSegments][kWarp];  // column 2 t has token t's high bytes, 2 t + 1 its low ones
  SegmentFactors factors[kSpanSegments][kTileTokens];
};

// Rounds the segments [first, last) of every token; eight lanes have a segment, a warp four.
__device__ __forceinline__ void RoundSpan(const UniformArguments& arguments, int first, int last,
                                          SpanInputs& to) {
  const int channels = arguments.segments * kSegmentChannels, share = Lane() % 8;
  const int tokens = static_cast<int>(arguments.tokens);
  for (int token = 0; token < tokens; ++token) {
    const float* const row = arguments.x + int64_t{token} * channels;
#pragma unroll 4
    for (int begin = first + WarpIndex() * 4; begin < last; begin += kWarps * 4) {
      const int segment = begin + Lane() / 8;
      float4 x = {0, 0, 0, 0};
      if (segment < last) x = *reinterpret_cast<const float4*>(row + segment * kSegmentChannels + share * 4);
      const RoundedFour rounded = RoundInputs(x);
      if (segment >= last) continue;
      // A column is 32 bytes, one a channel.
      uint32_t* const columns = reinterpret_cast<uint32_t*>(to.operands[segment - first]);
      columns[2 * token * 8 + share] = rounded.high;
      columns[(2 * token + 1) * 8 + share] = rounded.low;
      if (share == 0) to.factors[segment - first][token] = rounded.factors;
    }
  }
}

template <int kBits, bool kHalfScales, int kRun>
__global__ void __launch_bounds__(kThreads, kHalfScales ? 2 : 1) UniformFew(UniformArguments arguments) {
  StartNext();
  __shared__ SpanInputs inputs;
  __shared__ float partials[kUniformTile][kTileTokens][kUniformSums];
  const uint8_t* const tile = arguments.tiles + blockIdx.x * arguments.tile_bytes;
  const int tokens = static_cast<int>(arguments.tokens), token = Lane() % 4;
  const bool has_column = Lane() / 4 < 2 * tokens, has_token = token < tokens;
  float partial[2] = {};
  for (int span = 0; span < arguments.units; span += kSpanUnits) {
    LaneUnit<kBits, kHalfScales, kRun> units[kTurns];
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const int unit = span + i * kWarps + WarpIndex();
      if (unit < arguments.units) units[i].Load(arguments, tile, unit);
    }
    if (span == 0) WaitForPrevious();
    __syncthreads();  // the span before is done with
    const int first = span * kUnitSegments;
    RoundSpan(arguments, first, min(first + kSpanSegments, arguments.segments), inputs);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const int unit = span + i * kWarps + WarpIndex();
#pragma unroll
      for (int f = 0; f < kUnitSegments; ++f) {
        const int segment = unit * kUnitSegments + f;
        if (segment >= arguments.segments) break;
        uint2 b = {0, 0};
        if (has_column) b = inputs.operands[segment - first][Lane()];
        SegmentFactors factors = {0, 0};
        if (has_token) factors = inputs.factors[segment - first][token];
        uint32_t a[4];
        units[i].Operand(f, a);
        units[i].AddSegment(f, a, b, factors, partial);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) partials[Lane() / 4 + 8 * i][token][WarpIndex()] = partial[i];
  __syncthreads();
  if (threadIdx.x >= kUniformTile * kTileTokens) return;
  const int output = static_cast<int>(threadIdx.x) % kUniformTile,
            of = static_cast<int>(threadIdx.x) / kUniformTile;
  StoreUniform(arguments, of, int64_t{blockIdx.x} * kUniformTile + output,
               SumOfPartials(partials[output][of]));
}

}  // namespace

void RunUniformFew(CudaBackend& backend, const UniformFormat& format, const UniformArguments& arguments) {
  CHECK(arguments.tokens <= kFewUniformTokens, "few tokens");
  ForUniformFormat(format, arguments.group_segments, [&]<int kBits, bool kHalfScales, int kRun>() {
    Launch(backend.launch_stream(), UniformFew<kBits, kHalfScales, kRun>,
           {dim3(static_cast<unsigned>(UniformTiles(arguments.outputs))), dim3(kThreads)}, arguments);
  });
}

}  // namespace ternion::cuda
