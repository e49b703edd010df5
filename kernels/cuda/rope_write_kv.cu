// Rope and WriteKv in one kernel, for few rows, where a launch costs more than the work: a block takes one head of one
// row. Many rows go through the two operations, whose kernels write whole sectors of the cache.
#include <cuda_fp16.h>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 64;
constexpr int64_t kMostRows = 64;

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

// Products and sums round one by one, as in Rope.
__global__ void __launch_bounds__(kThreads) RotateAndCache(HeadWork work) {
  StartNext();
  const int64_t row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y), half = work.half, dim = 2 * half;
  const int position = work.slices.row_position[row];
  if (position < 0) return;
  const int64_t table = work.slices.table_begin[work.slices.row_slice[row]];
  const int64_t block = work.slices.tables[table + position / kKvBlockTokens];
  const int slot = position % kKvBlockTokens;
  const int key_head = head - work.query_heads, value_head = key_head - work.kv_heads;
  const int kv_head = value_head >= 0 ? value_head : key_head;
  __half* const keys = work.cache + (block * work.kv_heads + kv_head) * int64_t{2} * dim * kKvBlockTokens;
  __half* const value = keys + (kKvBlockTokens + slot) * int64_t{dim};
  const float* const cos = work.cos_sin + int64_t{position} * dim;
  float* const x = work.qkv + row * work.stride + int64_t{head} * dim;
  WaitForPrevious();
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kThreads) {
    const float left = x[i], right = x[half + i];
    if (value_head >= 0) {
      value[i] = __float2half_rn(left);
      value[half + i] = __float2half_rn(right);
      continue;
    }
    const float a = left * cos[i] - right * cos[half + i];
    const float b = right * cos[i] + left * cos[half + i];
    if (key_head < 0) {
      x[i] = a;
      x[half + i] = b;
    } else {
      keys[i * kKvBlockTokens + slot] = __float2half_rn(a);
      keys[(half + i) * kKvBlockTokens + slot] = __float2half_rn(b);
    }
  }
}

}  // namespace

void CudaBackend::RopeWriteKv(TensorView<float> qkv, const HeadShard& heads, TensorView<const float> cos_sin,
                              const KvSlices& slices, const KvLayer& cache) {
  const int64_t rows = slices_.device().rows;
  if (rows > kMostRows) {
    Rope(qkv, 0, heads.query_heads + heads.kv_heads, heads.head_dim, cos_sin, slices);
    return WriteKv(qkv, heads, slices, cache);
  }
  CHECK(heads.kv_heads == cache.kv_heads && heads.head_dim == cache.head_dim,
        "RopeWriteKv: the cache has other heads");
  CHECK(qkv.cols() == (heads.query_heads + 2 * heads.kv_heads) * int64_t{heads.head_dim},
        "RopeWriteKv shapes");
  CHECK(cache.format == KvFormat::kF16 && heads.head_dim % 2 == 0 && cos_sin.cols() == heads.head_dim,
        "RopeWriteKv: halves of an even head_dim on CUDA");
  for (const KvSlice& slice : slices.host) {
    CHECK(slice.position + slice.rows <= cos_sin.rows(), "RopeWriteKv: a position has no angle");
  }
  slices_.CheckCache(slices, qkv.rows(), cache.blocks);
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
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(heads.query_heads + 2 * heads.kv_heads));
  Launch(stream_, RotateAndCache, {grid, dim3(kThreads)}, work);
}

}  // namespace ternion::cuda
