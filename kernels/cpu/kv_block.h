#pragma once

#include <cstdint>

#include "kernels/kv.h"
#include "kernels/tensor.h"

namespace ternion::cpu {

// Elements of K, or of V, of one head in one block.
inline int64_t KvBlockElements(const KvLayer& cache) { return int64_t{cache.head_dim} * kKvBlockTokens; }

// K [head_dim, kKvBlockTokens] of a local head in the block that holds the slice's positions from
// index * kKvBlockTokens on; V [kKvBlockTokens, head_dim] follows it.
template <typename T>
T* KvBlock(const KvLayer& cache, const KvSlice& slice, int64_t index, int kv_head) {
  CHECK(index < static_cast<int64_t>(slice.block_table.size()), "the block table ends before the slice");
  const int64_t block = slice.block_table[index];
  CHECK(block >= 0 && block < cache.blocks, "a block outside the cache");
  return static_cast<T*>(cache.data) + (block * cache.kv_heads + kv_head) * 2 * KvBlockElements(cache);
}

}  // namespace ternion::cpu
