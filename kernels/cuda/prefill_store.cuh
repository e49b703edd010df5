#pragma once

#include "kernels/cuda/prefill_tile.cuh"
#include "kernels/cuda/ternary_epilogue.cuh"

// From the accumulators of a prefill block to rows of the result. Only for code under __CUDA_ARCH_FEAT_SM90_ALL.
namespace ternion::cuda::prefill {

__device__ __forceinline__ void SyncWarpgroup(int group) {
  if (group == 0) {
    asm volatile("bar.sync 1, %0;" ::"n"(kGroupThreads) : "memory");
  } else {
    asm volatile("bar.sync 2, %0;" ::"n"(kGroupThreads) : "memory");
  }
}
__device__ __forceinline__ void SyncCluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// What the block of `rank` holds at the same place of its shared memory.
__device__ __forceinline__ int32_t LoadShared(const int32_t* from, int rank) {
  int32_t value;
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %1, %2;\nld.shared::cluster.s32 %0, "
      "[remote];\n}"
      : "=r"(value)
      : "r"(SharedAddress(from)), "r"(rank)
      : "memory");
  return value;
}
__device__ __forceinline__ int4 LoadShared4(const int32_t* from, int rank) {
  int4 v;
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %4, %5;\n"
      "ld.shared::cluster.v4.s32 {%0, %1, %2, %3}, [remote];\n}"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "r"(SharedAddress(from)), "r"(rank)
      : "memory");
  return v;
}

// Four outputs of a row: neighbours, or `apart` where rows do not begin at multiples of 16 bytes.
struct FourOutputs {
  bool vectors;
  int first;  // of those that the row's threads share
  int left;   // that the matrix has of them
  int apart;

  __device__ int at(int i) const { return vectors ? first + i : first + apart * i; }
  __device__ void Load(const float* row, float (&x)[4]) const {
    if (vectors) {
      if (first < left) *reinterpret_cast<float4*>(x) = *reinterpret_cast<const float4*>(row + first);
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (at(i) < left) x[i] = row[at(i)];
    }
  }
  __device__ void Store(const float (&x)[4], float* row) const {
    if (vectors) {
      if (first < left) *reinterpret_cast<float4*>(row + first) = *reinterpret_cast<const float4*>(x);
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (at(i) < left) row[at(i)] = x[i];
    }
  }
  // The sums of all `split` blocks of the cluster.
  __device__ void Sum(const int32_t* row, int split, int32_t (&v)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = 0;
    for (int rank = 0; rank < split; ++rank) {
      if (vectors) {
        const int4 part =
            split == 1 ? *reinterpret_cast<const int4*>(row + first) : LoadShared4(row + first, rank);
        v[0] += part.x, v[1] += part.y, v[2] += part.z, v[3] += part.w;
        continue;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) v[i] += split == 1 ? row[at(i)] : LoadShared(row + at(i), rank);
    }
  }
};

// Rows [tokens][64 outputs] of a warpgroup, from shared memory to `out`; of a cluster's blocks each takes its part of the
// tokens. 16 threads take a row, each four outputs.
template <typename Tile>
__device__ void StoreRows(const Prefill& prefill, const Place& place, const SharedNumbers<Tile>& numbers,
                          const int32_t* rows, int64_t output) {
  constexpr int kRowThreads = 16, kRowsAtOnce = kGroupThreads / kRowThreads, kBatch = 4;
  const MatmulWork& work = prefill.work;
  if (output >= work.outputs) return;
  const int thread = static_cast<int>(threadIdx.x) % kGroupThreads, column = thread % kRowThreads;
  const FourOutputs four{prefill.vectors, prefill.vectors ? 4 * column : column,
                         static_cast<int>(min(work.outputs - output, int64_t{kGroupOutputs})), kRowThreads};
  const bool sums = prefill.epilogue == Epilogue::kSums;
  const bool reads = Reads<1>(prefill.epilogue);
  float weight_scale[4] = {};
  if (!sums) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (four.at(i) < four.left) weight_scale[i] = work.weight_scale[output + four.at(i)];
    }
  }
  constexpr int kTokens = Tile::kTokens;
  const int end = min(kTokens * (place.rank + 1) / prefill.split,
                      static_cast<int>(min(work.tokens - place.token, int64_t{kTokens})));
  float* const out = prefill.out + place.token * work.outputs + output;
  for (int begin = kTokens * place.rank / prefill.split + thread / kRowThreads; begin < end;
       begin += kBatch * kRowsAtOnce) {
    alignas(16) float y[kBatch][4] = {};
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int token = begin + b * kRowsAtOnce;
      if (reads && token < end) four.Load(out + token * work.outputs, y[b]);
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int token = begin + b * kRowsAtOnce;
      if (token >= end) break;
      int32_t v[4];
      four.Sum(rows + token * kRowWords, prefill.split, v);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t sum = v[i] - numbers.code_sum[token];
        const float f[1] = {Dequantized(sum, numbers.row_scale[token], weight_scale[i])};
        y[b][i] = sums ? __int_as_float(sum) : Finished<1>(prefill.epilogue, f, y[b][i]);
      }
      four.Store(y[b], out + token * work.outputs);
    }
  }
}

// Every thread of the block comes here; the stages are free then.
template <typename Tile>
__device__ __forceinline__ void StoreTile(const Prefill& prefill, const Place& place,
                                          const SharedNumbers<Tile>& numbers, char* stages,
                                          const int32_t (&sums)[Tile::kTokens / 2]) {
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  int32_t* const rows = reinterpret_cast<int32_t*>(stages) + group * Tile::kRowsWords;
  const int output = WarpIndex() % 4 * 16 + Lane() / 4, token = Lane() % 4 * 2;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < Tile::kTokens / 2; ++i) {
    rows[(i / 4 * 8 + token + (i & 1)) * kRowWords + output + 8 * (i >> 1 & 1)] = sums[i];
  }
  if (prefill.split > 1) {
    SyncCluster();
  } else {
    SyncWarpgroup(group);
  }
  StoreRows<Tile>(prefill, place, numbers, rows, place.output + group * kGroupOutputs);
  if (prefill.split > 1) SyncCluster();  // others may still read this block's rows
}

template <typename Tile>
__device__ void LoadNumbers(const Prefill& prefill, const Place& place, SharedNumbers<Tile>& numbers) {
  const int t = static_cast<int>(threadIdx.x);
  if (t >= Tile::kTokens) return;
  const int64_t token = place.token + t;
  int32_t sum = 0;
  for (int part = 0; part < prefill.codes.sum_parts; ++part) {
    sum += prefill.codes.sums[part * prefill.codes.tokens + token];
  }
  numbers.code_sum[t] = sum;
  const bool scaled = prefill.epilogue != Epilogue::kSums && token < prefill.work.tokens;
  numbers.row_scale[t] = scaled ? prefill.work.row_scale[token] : 0.0f;
}

}  // namespace ternion::cuda::prefill
