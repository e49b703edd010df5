// Codes in the order that wgmma wants, and each token's sum. A warp takes a unit of 256 inputs of eight tokens: a lane
// four 16-byte pieces of one token, 32 bytes apart, whose words it exchanges among them, so that loads and stores are both
// whole sectors. A block takes up to 16 units; the units' sums are parts that the reader adds. Bound by memory: each code
// is read and written once.
#include "kernels/cuda/arrange_codes.h"

#include "kernels/cuda/device.cuh"

namespace ternion::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kTokens = 8;  // of a block
constexpr int kBlockUnits = 16;
constexpr int kPieceBytes = 16;
constexpr int kPieceWords = 4;

struct Source {
  const int8_t* codes;  // [tokens, inputs]
  int64_t tokens;
  int64_t inputs;
};

// The 16 codes from `input` on; zeros where there are none.
template <bool kAligned>
__device__ uint4 LoadPiece(const Source& source, int64_t token, int64_t input) {
  uint4 piece = {};
  if (token >= source.tokens || input >= source.inputs) return piece;
  const int8_t* const from = source.codes + token * source.inputs + input;
  if constexpr (kAligned) {
    piece = *reinterpret_cast<const uint4*>(from);
  } else {
    uint32_t words[kPieceWords] = {};
#pragma unroll
    for (int i = 0; i < kPieceBytes; ++i) {
      if (input + i < source.inputs)
        words[i / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(from[i])) << i % 4 * 8;
    }
    piece = {words[0], words[1], words[2], words[3]};
  }
  return piece;
}

__device__ __forceinline__ int AddCodes(const uint4& piece, int sum) {
  constexpr int kOnes = 0x01010101;
  sum = __dp4a(static_cast<int>(piece.x), kOnes, sum);
  sum = __dp4a(static_cast<int>(piece.y), kOnes, sum);
  sum = __dp4a(static_cast<int>(piece.z), kOnes, sum);
  return __dp4a(static_cast<int>(piece.w), kOnes, sum);
}

// The lane's quarter of a token's unit: half h of the unit, chunk c of it. Returns the sum of its codes.
template <bool kAligned>
__device__ int ArrangeQuarter(const Source& source, int8_t* chunks, int64_t padded_tokens, int64_t token,
                              int64_t unit) {
  const int half = Lane() & 1, chunk = Lane() >> 1 & 1;
  const int64_t first = unit * kUnitInputs + half * (kUnitInputs / 2) + chunk * kPieceBytes;
  uint4 in[4];
#pragma unroll
  for (int q = 0; q < 4; ++q) in[q] = LoadPiece<kAligned>(source, token, first + q * 2 * kPieceBytes);
  int8_t* const row = chunks + ((2 * unit + chunk) * padded_tokens + token) * kChunkBytes;
  const uint4 out[4] = {{in[0].x, in[1].x, in[2].x, in[3].x},
                        {in[0].y, in[1].y, in[2].y, in[3].y},
                        {in[0].z, in[1].z, in[2].z, in[3].z},
                        {in[0].w, in[1].w, in[2].w, in[3].w}};
  int sum = 0;
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const int place = (2 * step + half) ^ (static_cast<int>(token) & 7);
    *reinterpret_cast<uint4*>(row + place * kPieceBytes) = out[step];
    sum = AddCodes(in[step], sum);
  }
  return sum;
}

// Block (x, y): tokens from 8 x on, units from 16 y on.
template <bool kAligned>
__global__ void __launch_bounds__(kWarps* kWarp) ArrangeKernel(Source source, int8_t* chunks, int32_t* sums) {
  StartNext();
  WaitForPrevious();
  __shared__ int32_t warp_sums[kWarps][kTokens];
  const int64_t padded_tokens = static_cast<int64_t>(gridDim.x) * kTokens;
  const int row = Lane() / 4;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kTokens + row;
  const int64_t units = CeilDivide(source.inputs, kUnitInputs),
                first_unit = static_cast<int64_t>(blockIdx.y) * kBlockUnits;
  int sum = 0;
#pragma unroll
  for (int i = 0; i < kBlockUnits; i += kWarps) {
    const int64_t unit = first_unit + i + WarpIndex();
    if (unit < units) sum += ArrangeQuarter<kAligned>(source, chunks, padded_tokens, token, unit);
  }
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  sum += __shfl_xor_sync(kAllLanes, sum, 2);
  if (Lane() % 4 == 0) warp_sums[WarpIndex()][row] = sum;
  __syncthreads();
  if (threadIdx.x < kTokens) {
    int total = 0;
    for (int warp = 0; warp < kWarps; ++warp) total += warp_sums[warp][threadIdx.x];
    sums[blockIdx.y * padded_tokens + blockIdx.x * kTokens + threadIdx.x] = total;
  }
}

}  // namespace

ArrangedCodes ArrangeCodes(CudaBackend& backend, const int8_t* codes, int64_t tokens, int64_t inputs,
                           int64_t padded_tokens) {
  CHECK(padded_tokens % kTokens == 0 && padded_tokens >= tokens, "tokens are padded to whole blocks");
  const int64_t units = Units(inputs), parts = CeilDivide(units, kBlockUnits);
  const int64_t chunk_bytes = units * padded_tokens * kUnitInputs;
  const int64_t sum_bytes = parts * padded_tokens * static_cast<int64_t>(sizeof(int32_t));
  int8_t* const chunks = backend.Scratch<int8_t>(Purpose::kCodes, chunk_bytes + sum_bytes);
  int32_t* const sums = reinterpret_cast<int32_t*>(chunks + chunk_bytes);
  const bool aligned = inputs % kPieceBytes == 0 && reinterpret_cast<uintptr_t>(codes) % kPieceBytes == 0;
  const LaunchShape shape{dim3(static_cast<unsigned>(padded_tokens / kTokens), static_cast<unsigned>(parts)),
                          dim3(kWarps * kWarp)};
  Launch(backend.launch_stream(), aligned ? ArrangeKernel<true> : ArrangeKernel<false>, shape,
         Source{codes, tokens, inputs}, chunks, sums);
  return {chunks, sums, padded_tokens, static_cast<int>(parts)};
}

}  // namespace ternion::cuda
