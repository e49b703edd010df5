// Rope and WriteKv in one kernel: bound by memory, for few rows by latency. A block takes one head of up to
// 32 rows, four pairs a thread and turn, or one where heads are not aligned. Keys are turned over in shared
// memory, so that neighbouring threads write neighbouring tokens of a channel, as the cache has them.
#include <cuda_fp16.h>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlockRows = 32;
static_assert(kBlockRows == kWarp, "a lane writes a row's keys");

struct HeadWork {
  float* qkv = nullptr;  // [rows, stride]
  int64_t stride = 0;
  int query_heads = 0;
  int kv_heads = 0;
  int half = 0;                    // of head_dim
  const float* cos_sin = nullptr;  // [positions, 2, half]
  __half* cache = nullptr;
  DeviceSlices slices;
};

// Where a row stands, and where its K and V go.
struct Place {
  __half* keys;  // [dim, kKvBlockTokens], then values [kKvBlockTokens, dim]
  int position;  // -1: nowhere
};

// `kv_head` counts for keys and values alone.
__device__ __forceinline__ Place PlaceOf(const HeadWork& work, int64_t row, int kv_head) {
  const DeviceSlices& slices = work.slices;
  const int position = row < slices.rows ? slices.row_position[row] : -1;
  if (position < 0 || kv_head < 0) return {nullptr, position};
  const int64_t block = slices.tables[slices.table_begin[slices.row_slice[row]] + position / kKvBlockTokens];
  return {work.cache + (block * work.kv_heads + kv_head) * int64_t{4} * work.half * kKvBlockTokens, position};
}

template <int kPairs>
__device__ __forceinline__ void StoreHalves(__half* to, const Pack<float, kPairs>& x) {
  Pack<__half, kPairs> halves;
#pragma unroll
  for (int j = 0; j < kPairs; ++j) halves.v[j] = __float2half_rn(x.v[j]);
  *reinterpret_cast<Pack<__half, kPairs>*>(to) = halves;
}

// Products and sums round one by one, as in Rope.
template <int kPairs>
__device__ __forceinline__ void Turn(const float* angles, int half, Pack<float, kPairs>& left,
                                     Pack<float, kPairs>& right) {
  using Values = Pack<float, kPairs>;
  const Values cos = *reinterpret_cast<const Values*>(angles);
  const Values sin = *reinterpret_cast<const Values*>(angles + half);
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const float x = left.v[j], y = right.v[j];
    left.v[j] = x * cos.v[j] - y * sin.v[j];
    right.v[j] = y * cos.v[j] + x * sin.v[j];
  }
}

template <int kPairs>
__global__ void __launch_bounds__(kThreads) TurnAndCache(HeadWork work) {
  using Values = Pack<float, kPairs>;
  extern __shared__ uint4 memory[];
  __shared__ Place places[kBlockRows];
  StartNext();
  const int head = static_cast<int>(blockIdx.y), half = work.half, dim = 2 * half;
  const int key_head = head - work.query_heads, value_head = key_head - work.kv_heads;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kBlockRows;
  const int rows = static_cast<int>(min(int64_t{kBlockRows}, work.slices.rows - first_row));
  if (threadIdx.x < kBlockRows) {
    places[threadIdx.x] = PlaceOf(work, first_row + threadIdx.x, value_head >= 0 ? value_head : key_head);
  }
  // Keys: [rows, channels]; four halves more spread the rows over the banks.
  __half* const turned = reinterpret_cast<__half*>(memory);
  const int pitch = dim + 4;
  WaitForPrevious();
  __syncthreads();
  const int items = half / kPairs;  // of a row
  for (int i = static_cast<int>(threadIdx.x); i < rows * items; i += kThreads) {
    const int row = i / items, channel = i % items * kPairs;
    const Place place = places[row];
    if (place.position < 0) continue;
    float* const x = work.qkv + (first_row + row) * work.stride + int64_t{head} * dim + channel;
    Values left = *reinterpret_cast<const Values*>(x), right = *reinterpret_cast<const Values*>(x + half);
    if (value_head >= 0) {
      __half* const value =
          place.keys + (kKvBlockTokens + place.position % kKvBlockTokens) * int64_t{dim} + channel;
      StoreHalves(value, left);
      StoreHalves(value + half, right);
      continue;
    }
    Turn(work.cos_sin + int64_t{place.position} * dim + channel, half, left, right);
    if (key_head < 0) {
      *reinterpret_cast<Values*>(x) = left;
      *reinterpret_cast<Values*>(x + half) = right;
    } else {
      StoreHalves(turned + row * pitch + channel, left);
      StoreHalves(turned + row * pitch + half + channel, right);
    }
  }
  if (key_head < 0 || value_head >= 0) return;
  __syncthreads();
  const Place place = places[Lane()];
  if (place.position < 0) return;
  __half* const keys = place.keys + place.position % kKvBlockTokens;
  for (int channel = WarpIndex(); channel < dim; channel += kThreads / kWarp) {
    keys[channel * kKvBlockTokens] = turned[Lane() * pitch + channel];
  }
}

}  // namespace

void CudaBackend::RopeWriteKv(TensorView<float> qkv, const HeadShard& heads, TensorView<const float> cos_sin,
                              const KvSlices& slices, const KvLayer& cache) {
  CHECK(heads.kv_heads == cache.kv_heads && heads.head_dim == cache.head_dim,
        "RopeWriteKv: the cache has other heads");
  CHECK(qkv.cols() == (heads.query_heads + 2 * heads.kv_heads) * int64_t{heads.head_dim},
        "RopeWriteKv shapes");
  if (IsPacked(cache.format)) {
    Rope(qkv, 0, heads.query_heads + heads.kv_heads, heads.head_dim, cos_sin, slices);
    return WriteKv(qkv, heads, slices, cache);
  }
  CHECK(cache.format == KvFormat::kF16 && heads.head_dim % 2 == 0 && cos_sin.cols() == heads.head_dim,
        "RopeWriteKv: halves of an even head_dim on CUDA");
  for (const KvSlice& slice : slices.host) {
    CHECK(slice.position + slice.rows <= cos_sin.rows(), "RopeWriteKv: a position has no angle");
  }
  slices_.CheckCache(slices, qkv.rows(), cache.blocks);
  const int64_t rows = slices_.device().rows;
  if (rows == 0 || qkv.cols() == 0) return;
  HeadWork work;
  work.qkv = qkv.data();
  work.stride = qkv.cols();
  work.query_heads = heads.query_heads;
  work.kv_heads = heads.kv_heads;
  work.half = heads.head_dim / 2;
  work.cos_sin = cos_sin.data();
  work.cache = static_cast<__half*>(cache.data);
  work.slices = slices_.device();
  const dim3 grid(static_cast<unsigned>(CeilDivide(rows, kBlockRows)),
                  static_cast<unsigned>(heads.query_heads + 2 * heads.kv_heads));
  const LaunchShape shape = {grid, dim3(kThreads), (heads.head_dim + 4) * sizeof(__half) * kBlockRows};
  const bool aligned = FoursAligned(work.half, work.qkv, work.cos_sin);
  Launch(stream_, aligned ? TurnAndCache<4> : TurnAndCache<1>, shape, work);
}

}  // namespace ternion::cuda
