// K and V of a step's tokens into the cache. A task owns one head of one block: K's transposition scatters
// over the block, which then lies in cache.
#include <algorithm>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/kv_block.h"
#include "kernels/cpu/pack_kv.h"
#include "kernels/cpu/scratch.h"

namespace ternion::cpu {
namespace {

// The part of a slice that falls into one block.
struct BlockPart {
  const KvSlice* slice;
  int64_t index;     // of the block in the slice's table
  int64_t position;  // of the part's first token
  int64_t tokens;
};

std::vector<BlockPart> PartsOf(absl::Span<const KvSlice> slices) {
  std::vector<BlockPart> parts;
  for (const KvSlice& slice : slices) {
    const int64_t end = slice.position + slice.rows;
    for (int64_t position = slice.position; position < end;) {
      const int64_t index = position / kKvBlockTokens;
      const int64_t next = std::min(end, (index + 1) * kKvBlockTokens);
      parts.push_back({&slice, index, position, next - position});
      position = next;
    }
  }
  return parts;
}

// What a task reads and writes: the tokens of a block's part, one KV head.
class HeadRows {
 public:
  HeadRows(TensorView<const float> qkv, const HeadShard& heads, const BlockPart& part, int kv_head)
      : qkv_(qkv), heads_(heads), part_(part), kv_head_(kv_head) {}

  // Token i of the part: [head_dim].
  const float* key(int64_t i) const {
    return Row(i) + (heads_.query_heads + kv_head_) * int64_t{heads_.head_dim};
  }
  const float* value(int64_t i) const { return key(i) + heads_.kv_heads * int64_t{heads_.head_dim}; }

 private:
  const float* Row(int64_t i) const {
    return qkv_.row(part_.slice->row_begin + part_.position - part_.slice->position + i);
  }

  TensorView<const float> qkv_;
  const HeadShard& heads_;
  const BlockPart& part_;
  int kv_head_;
};

// The cache's format of `n` floats: themselves, or halves in `scratch`.
const float* Rounded(const HalfKernels&, const float* x, int64_t, const float*) { return x; }
const Float16* Rounded(const HalfKernels& kernels, const float* x, int64_t n, Float16* scratch) {
  kernels.narrow(x, n, &scratch->bits);
  return scratch;
}

template <typename T>
void WriteNumbers(const FloatKernels& kernels, const KvLayer& cache, const BlockPart& part, int kv_head,
                  const HeadRows& rows) {
  const int64_t dim = cache.head_dim;
  T* keys = KvBlock<T>(cache, *part.slice, part.index, kv_head);  // [dim, kKvBlockTokens]
  T* values = keys + KvBlockElements(cache);                      // [kKvBlockTokens, dim]
  Scratch<T> scratch(dim);
  for (int64_t i = 0; i < part.tokens; ++i) {
    const int64_t slot = (part.position + i) % kKvBlockTokens;
    const T* key = Rounded(*kernels.half, rows.key(i), dim, scratch.data());
    for (int64_t d = 0; d < dim; ++d) keys[d * kKvBlockTokens + slot] = key[d];
    std::copy_n(Rounded(*kernels.half, rows.value(i), dim, scratch.data()), dim, values + slot * dim);
  }
}

void WriteCodes(const FloatKernels& kernels, const KvLayer& cache, const BlockPart& part, int kv_head,
                const HeadRows& rows) {
  const PackedHead head(cache.format, cache.head_dim,
                        KvBlock<uint8_t>(cache, *part.slice, part.index, kv_head));
  for (int64_t i = 0; i < part.tokens; ++i) {
    PackKv(kernels, cache.format, rows.key(i), part.position + i, head, PackedHead::kKeys);
    PackKv(kernels, cache.format, rows.value(i), part.position + i, head, PackedHead::kValues);
  }
}

}  // namespace

void CpuBackend::WriteKv(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                         const KvLayer& cache) {
  CHECK(heads.kv_heads == cache.kv_heads && heads.head_dim == cache.head_dim,
        "WriteKv: the cache has other heads");
  CHECK(qkv.cols() == (heads.query_heads + 2 * heads.kv_heads) * int64_t{heads.head_dim}, "WriteKv shapes");
  for (const KvSlice& slice : slices.host) {
    CHECK(slice.row_begin >= 0 && slice.row_begin + slice.rows <= qkv.rows(),
          "WriteKv: a slice outside the step");
    CHECK(slice.position >= 0, "WriteKv: a position before the first");
  }
  const FloatKernels& kernels = KernelsFor(isa_);
  const auto write = IsPacked(cache.format)           ? WriteCodes
                     : cache.format == KvFormat::kF16 ? WriteNumbers<Float16>
                                                      : WriteNumbers<float>;
  const std::vector<BlockPart> parts = PartsOf(slices.host);
  pool_.ForEach(static_cast<int64_t>(parts.size()) * cache.kv_heads, [&](int64_t task) {
    const BlockPart& part = parts[task / cache.kv_heads];
    const int kv_head = static_cast<int>(task % cache.kv_heads);
    write(kernels, cache, part, kv_head, HeadRows(qkv, heads, part, kv_head));
  });
}

void CpuBackend::RopeWriteKv(TensorView<float> qkv, const HeadShard& heads, TensorView<const float> cos_sin,
                             const KvSlices& slices, const KvLayer& cache) {
  // Queries and keys lie side by side, so one rotation takes both.
  Rope(qkv, 0, heads.query_heads + heads.kv_heads, heads.head_dim, cos_sin, slices);
  WriteKv(qkv, heads, slices, cache);
}

void CpuBackend::RopeAttention(TensorView<float> qkv, const HeadShard& heads, TensorView<const float> cos_sin,
                               const KvSlices& slices, const KvLayer& cache, TensorView<float> out) {
  RopeWriteKv(qkv, heads, cos_sin, slices, cache);
  Attention(qkv, heads, slices, cache, out);
}

}  // namespace ternion::cpu
