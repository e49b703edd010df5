// K and V of a step's tokens into the cache as halves, two channels a thread. A thread block takes up to 32
// tokens of one KV head: neighbouring threads take neighbouring tokens for K, whose channels' tokens lie
// together in the cache, and neighbouring channels for V. Bound by latency for few tokens, by memory for
// many.
#include <cuda_fp16.h>

#include <algorithm>
#include <bit>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/write_packed_kv.h"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostTokens = 32;

// Where a token's K and V go: the head's block and the slot in it.
struct Place {
  __half* keys;  // [dim, kKvBlockTokens], then values [kKvBlockTokens, dim]
  int slot;
};

__device__ Place PlaceOf(const WriteKvArguments& arguments, int64_t row, int head) {
  const DeviceSlices& slices = arguments.slices;
  const int position = row < slices.rows ? slices.row_position[row] : -1;
  if (position < 0) return {nullptr, 0};
  const int64_t block = slices.tables[slices.table_begin[slices.row_slice[row]] + position / kKvBlockTokens];
  const int64_t elements = int64_t{2} * arguments.dim * kKvBlockTokens;
  return {static_cast<__half*>(arguments.cache) + (block * arguments.kv_heads + head) * elements,
          position % kKvBlockTokens};
}

__device__ __half2 Rounded(const float* x) {
  const float2 pair = *reinterpret_cast<const float2*>(x);
  return __floats2half2_rn(pair.x, pair.y);
}

__global__ void __launch_bounds__(kThreads) WriteRows(WriteKvArguments arguments) {
  StartNext();
  const int tokens = static_cast<int>(blockDim.x), groups = static_cast<int>(blockDim.y);
  const int head = static_cast<int>(blockIdx.y), dim = arguments.dim, pairs = dim / 2;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * tokens;
  __shared__ Place places[kMostTokens];
  if (threadIdx.y == 0) places[threadIdx.x] = PlaceOf(arguments, first_row + threadIdx.x, head);
  WaitForPrevious();
  __syncthreads();

  if (const Place to = places[threadIdx.x]; to.keys != nullptr) {
    const float* key = arguments.qkv + (first_row + threadIdx.x) * arguments.stride +
                       static_cast<int64_t>(arguments.query_heads + head) * dim;
    for (int pair = static_cast<int>(threadIdx.y); pair < pairs; pair += groups) {
      const __half2 rounded = Rounded(key + 2 * pair);
      __half* keys = to.keys + 2 * pair * kKvBlockTokens + to.slot;
      keys[0] = __low2half(rounded);
      keys[kKvBlockTokens] = __high2half(rounded);
    }
  }

  const int thread = static_cast<int>(threadIdx.y) * tokens + static_cast<int>(threadIdx.x);
  for (int i = thread; i < tokens * pairs; i += tokens * groups) {
    const int token = i / pairs, pair = i % pairs;
    const Place to = places[token];
    if (to.keys == nullptr) continue;
    const float* value = arguments.qkv + (first_row + token) * arguments.stride +
                         static_cast<int64_t>(arguments.query_heads + arguments.kv_heads + head) * dim;
    __half* values = to.keys + (kKvBlockTokens + to.slot) * int64_t{dim};
    *reinterpret_cast<__half2*>(values + 2 * pair) = Rounded(value + 2 * pair);
  }
}

}  // namespace

void CudaBackend::WriteKv(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                          const KvLayer& cache) {
  CHECK(heads.kv_heads == cache.kv_heads && heads.head_dim == cache.head_dim,
        "WriteKv: the cache has other heads");
  CHECK(qkv.cols() == (heads.query_heads + 2 * heads.kv_heads) * int64_t{heads.head_dim}, "WriteKv shapes");
  CHECK(cache.format != KvFormat::kF32 && heads.head_dim % (IsPacked(cache.format) ? 16 : 2) == 0,
        "WriteKv: halves of an even head_dim or a packed format of a multiple of 16 on CUDA");
  slices_.CheckCache(slices, qkv.rows(), cache.blocks);
  const int64_t rows = slices_.device().rows;
  if (rows == 0 || heads.kv_heads == 0 || heads.head_dim == 0) return;
  const WriteKvArguments arguments = {qkv.data(),     qkv.cols(), heads.query_heads, heads.kv_heads,
                                      heads.head_dim, cache.data, slices_.device()};
  if (IsPacked(cache.format)) return WritePackedKv(launch_stream(), cache.format, arguments);
  const auto tokens =
      static_cast<int>(std::min<uint64_t>(kMostTokens, std::bit_ceil(static_cast<uint64_t>(rows))));
  const dim3 grid(static_cast<unsigned>(CeilDivide(rows, tokens)), static_cast<unsigned>(heads.kv_heads));
  Launch(launch_stream(), WriteRows, {grid, dim3(tokens, kThreads / tokens)}, arguments);
}

}  // namespace ternion::cuda
