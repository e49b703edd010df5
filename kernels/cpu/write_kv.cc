// K and V of a step's tokens into the cache. A task owns one head of one block: K's transposition scatters
// over the block, which then lies in cache.
#include <algorithm>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/kv_block.h"
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

// The cache's format of `n` floats: themselves, or halves in `scratch`.
const float* Rounded(const HalfKernels&, const float* x, int64_t, const float*) { return x; }
const Float16* Rounded(const HalfKernels& kernels, const float* x, int64_t n, Float16* scratch) {
  kernels.narrow(x, n, &scratch->bits);
  return scratch;
}

template <typename T>
class Writer {
 public:
  Writer(const HalfKernels& kernels, TensorView<const float> qkv, const HeadShard& heads,
         const KvLayer& cache)
      : kernels_(kernels), qkv_(qkv), heads_(heads), cache_(cache) {}

  void Write(const BlockPart& part, int kv_head) const {
    const int64_t dim = cache_.head_dim;
    T* keys = KvBlock<T>(cache_, *part.slice, part.index, kv_head);  // [dim, kKvBlockTokens]
    T* values = keys + KvBlockElements(cache_);                      // [kKvBlockTokens, dim]
    Scratch<T> scratch(dim);                                         // [dim]
    for (int64_t i = 0; i < part.tokens; ++i) {
      const int64_t slot = (part.position + i) % kKvBlockTokens;
      const float* row = qkv_.row(part.slice->row_begin + part.position - part.slice->position + i);
      const T* key = Rounded(kernels_, row + (heads_.query_heads + kv_head) * dim, dim, scratch.data());
      for (int64_t d = 0; d < dim; ++d) keys[d * kKvBlockTokens + slot] = key[d];
      const float* value = row + (heads_.query_heads + heads_.kv_heads + kv_head) * dim;
      std::copy_n(Rounded(kernels_, value, dim, scratch.data()), dim, values + slot * dim);
    }
  }

 private:
  const HalfKernels& kernels_;
  TensorView<const float> qkv_;
  const HeadShard& heads_;
  const KvLayer& cache_;
};

template <typename T>
void WriteAll(ThreadPool& pool, const Writer<T>& writer, const std::vector<BlockPart>& parts, int kv_heads) {
  pool.ForEach(static_cast<int64_t>(parts.size()) * kv_heads, [&](int64_t task) {
    writer.Write(parts[task / kv_heads], static_cast<int>(task % kv_heads));
  });
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
  const HalfKernels& kernels = *KernelsFor(isa_).half;
  const std::vector<BlockPart> parts = PartsOf(slices.host);
  if (cache.format == KvFormat::kF16) {
    WriteAll(pool_, Writer<Float16>(kernels, qkv, heads, cache), parts, cache.kv_heads);
  } else {
    WriteAll(pool_, Writer<float>(kernels, qkv, heads, cache), parts, cache.kv_heads);
  }
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
