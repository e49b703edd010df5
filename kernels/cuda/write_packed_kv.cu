// Keys and values of a step's tokens into a cache of a packed format. A thread block owns one side of a KV head in a
// block of the cache: words hold codes of several tokens. It is the block of the first of the step's rows that fall there;
// those of other rows end at once. A warp quantizes a token, then a thread puts codes into a lane's words of a unit. Bound by
// latency for few tokens, by arithmetic for many.
#include "kernels/check.h"
#include "kernels/cuda/packed_kv_quantize.cuh"
#include "kernels/cuda/write_packed_kv.h"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;

// The step's tokens in one block of the cache.
struct BlockTokens {
  int64_t row;  // of the first
  int begin;    // its slot
  int count;    // 0: the row is not the block's first
  int position;
  int64_t block;
};

__device__ BlockTokens TokensFrom(const DeviceSlices& slices, int64_t row) {
  const int position = slices.row_position[row], slice = slices.row_slice[row];
  BlockTokens tokens = {row, position % kKvBlockTokens, 0, position, 0};
  if (position < 0) return tokens;
  if (tokens.begin > 0 && row > 0 && slices.row_slice[row - 1] == slice) return tokens;
  const int64_t next = row + threadIdx.x;
  const bool mine =
      threadIdx.x < kKvBlockTokens - tokens.begin && next < slices.rows && slices.row_slice[next] == slice;
  tokens.count = __syncthreads_count(mine);
  tokens.block = slices.tables[slices.table_begin[slice] + position / kKvBlockTokens];
  return tokens;
}

template <KvFormat kFormat, KvSide kSide>
__device__ void Quantize(const WriteKvArguments& arguments, const BlockTokens& tokens, char* side,
                         uint8_t* codes) {
  using Layout = SideLayout<kFormat>;
  const int dim = arguments.dim, head = arguments.query_heads + static_cast<int>(blockIdx.y) +
                                        (kSide == KvSide::kKeys ? 0 : arguments.kv_heads);
  for (int i = WarpIndex(); i < tokens.count; i += kThreads / kWarp) {
    const float* const from = arguments.qkv + (tokens.row + i) * arguments.stride + int64_t{head} * dim;
    float x[kMostLaneChannels];
#pragma unroll
    for (int j = 0; j < kMostLaneChannels; ++j) {
      const int channel = j * kWarp + Lane();
      x[j] = channel < dim ? from[channel] : 0;
    }
    const int slot = tokens.begin + i;
    auto* const scales = reinterpret_cast<__half*>(side + Layout::Scales(dim)) + ScaleIndex<kSide>(slot);
    auto* const first_bits = reinterpret_cast<uint32_t*>(side + Layout::FirstBits(dim));
    QuantizeToken<kFormat>(
        x, dim, tokens.position + i == 0, codes + slot * dim,
        [&](int array, __half scale) { scales[array * kKvBlockTokens] = scale; },
        [&](int word, uint32_t bits) { first_bits[word] = bits; });
  }
}

template <KvFormat kFormat, KvSide kSide>
__device__ void WriteSide(const WriteKvArguments& arguments, const BlockTokens& tokens) {
  using Layout = SideLayout<kFormat>;
  extern __shared__ uint8_t codes[];  // [kKvBlockTokens, dim]
  const int dim = arguments.dim;
  char* const head = static_cast<char*>(arguments.cache) +
                     (tokens.block * arguments.kv_heads + blockIdx.y) * 2 * Layout::Bytes(dim);
  char* const side = kSide == KvSide::kKeys ? head : head + Layout::Bytes(dim);
  Quantize<kFormat, kSide>(arguments, tokens, side, codes);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < dim / kUnitChannels * kWarp; i += kThreads) {
    char* const unit = side + i / kWarp * Layout::kUnitBytes;
    LaneWords<Layout::kBits> words;
    words.Load(unit, Lane());
    ReplaceCodes<kFormat, kSide>(codes + i / kWarp * kUnitChannels, dim, tokens.begin,
                                 tokens.begin + tokens.count, Lane(), words);
    words.Store(unit, Lane());
  }
}

// Blocks x take rows, y KV heads, z sides.
template <KvFormat kFormat>
__global__ void __launch_bounds__(kThreads) WriteBlocks(WriteKvArguments arguments) {
  StartNext();
  const BlockTokens tokens = TokensFrom(arguments.slices, blockIdx.x);
  if (tokens.count == 0) return;
  WaitForPrevious();
  if (blockIdx.z == 0) {
    WriteSide<kFormat, KvSide::kKeys>(arguments, tokens);
  } else {
    WriteSide<kFormat, KvSide::kValues>(arguments, tokens);
  }
}

template <KvFormat kFormat>
void LaunchBlocks(const Stream& stream, const WriteKvArguments& arguments) {
  const dim3 grid(static_cast<unsigned>(arguments.slices.rows), static_cast<unsigned>(arguments.kv_heads), 2);
  Launch(stream, WriteBlocks<kFormat>,
         {grid, dim3(kThreads), static_cast<size_t>(kKvBlockTokens) * static_cast<size_t>(arguments.dim)},
         arguments);
}

}  // namespace

void WritePackedKv(const Stream& stream, KvFormat format, const WriteKvArguments& arguments) {
  switch (format) {
    case KvFormat::kInt8:
      return LaunchBlocks<KvFormat::kInt8>(stream, arguments);
    case KvFormat::kInt4:
      return LaunchBlocks<KvFormat::kInt4>(stream, arguments);
    case KvFormat::kInt3:
      return LaunchBlocks<KvFormat::kInt3>(stream, arguments);
    case KvFormat::kInt4G32:
      return LaunchBlocks<KvFormat::kInt4G32>(stream, arguments);
    case KvFormat::kInt3G32:
      return LaunchBlocks<KvFormat::kInt3G32>(stream, arguments);
    case KvFormat::kF32:
    case KvFormat::kF16:
      break;
  }
  CHECK(false, "WriteKv: not a packed format");
}

}  // namespace ternion::cuda
