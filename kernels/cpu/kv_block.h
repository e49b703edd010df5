#pragma once

#include <cstdint>

#include "kernels/kv.h"
#include "kernels/tensor.h"

namespace ternion::cpu {

// Elements of K, or of V, of one head in one block.
inline int64_t KvBlockElements(const KvLayer& cache) { return int64_t{cache.head_dim} * kKvBlockTokens; }

// The bytes of a local head in the block that holds the slice's positions from index * kKvBlockTokens on. Where they are
// floats or halves: K [head_dim, kKvBlockTokens], then V [kKvBlockTokens, head_dim]; else see packed_head.h.
template <typename T>
T* KvBlock(const KvLayer& cache, const KvSlice& slice, int64_t index, int kv_head) {
  CHECK(index < static_cast<int64_t>(slice.block_table.size()), "the block table ends before the slice");
  const int64_t block = slice.block_table[index];
  CHECK(block >= 0 && block < cache.blocks, "a block outside the cache");
  const int64_t head = block * cache.kv_heads + kv_head;
  return reinterpret_cast<T*>(static_cast<char*>(cache.data) +
                              head * KvHeadBytes(cache.format, cache.head_dim));
}

}  // namespace ternion::cpu
