// Causal attention over the paged cache, on tensor cores: queries, keys, values and weights are halves, sums
// are floats.
//
// Numerics: a row goes through the blocks of a chunk (kChunkTokens absolute positions) in ascending order,
// rescaling its sums where a block has a larger score; chunks are merged in ascending order. Every kernel
// does these very operations for a row, so that its bits do not depend on which kernel and which tile it
// falls to.
//
// Prefill walks through chunks (attention_walk.cuh), bound by tensor cores and shared memory. Slices of few
// tokens split their contexts by chunks (attention_split.cuh), bound by latency or reading the cache; they
// also turn queries and keys and write to the cache, which saves a kernel (attention_turn.cuh). So do tokens
// alone, one of each sequence, whose latency counts most (attention_decode.cuh).
#include <algorithm>
#include <cmath>

#include "kernels/cuda/attention_decode.cuh"
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_split.cuh"
#include "kernels/cuda/attention_walk.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"

namespace ternion::cuda {
namespace {

// For one token of so many sequences the kernel before leaves room for this one's blocks, which then have
// time to rehearse.
constexpr int64_t kMostRehearsed = 4;

template <int kDim>
void LaunchWalks(const Stream& stream, const AttentionPlan& plan, const AttentionArguments& arguments) {
  using Memory = WalkMemory<kDim>;
  LaunchTiles(stream, WalkTiles<kDim>, WalkGrid(plan, arguments.heads, Memory::kRows), Memory::kThreads,
              Memory::Bytes(kWalkMatrices<kDim>), arguments);
}

int64_t SplitTileCount(const AttentionPlan& plan, const HeadShard& heads) {
  const dim3 grid = SplitGrid(plan, heads);
  return int64_t{grid.x} * grid.y * grid.z;
}

// One token of each sequence, to be turned.
template <int kDim>
void LaunchDecode(const Stream& stream, const AttentionPlan& plan, AttentionArguments arguments) {
  using Memory = DecodeMemory<kDim>;
  arguments.row_halves = MostHeads(arguments.heads) > kHalfRows ? 2 : 1;
  arguments.rehearse = plan.splits <= kMostRehearsed;
  const int bytes = Memory::Bytes(arguments.row_halves, arguments.key_matrices, arguments.matrices);
  LaunchTiles(stream, plan.records > 0 ? DecodeTiles<kDim, true> : DecodeTiles<kDim, false>,
              SplitGrid(plan, arguments.heads), kDecodeThreads, bytes, arguments);
}

template <int kDim>
void LaunchSplits(CudaBackend& backend, const AttentionPlan& plan, AttentionArguments arguments) {
  using Memory = SplitMemory<kDim>;
  const HeadShard& heads = arguments.heads;
  // A place for all values where a multiprocessor has one tile, else for two tiles on it.
  const bool alone = SplitTileCount(plan, heads) <= backend.multiprocessors();
  arguments.key_matrices = static_cast<int>(plan.split_blocks);
  arguments.matrices =
      std::min(2 * arguments.key_matrices, kDim <= 128 && alone ? 2 * kChunkBlocks : kChunkBlocks + 2);
  const bool turn = arguments.cos_sin != nullptr;
  if (turn && plan.split_tokens == 1) {
    return LaunchDecode<kDim>(backend.launch_stream(), plan, arguments);
  }
  LaunchTiles(backend.launch_stream(), turn ? SplitTiles<kDim, true> : SplitTiles<kDim, false>,
              SplitGrid(plan, heads), Memory::kThreads, Memory::Bytes(arguments.matrices), arguments);
}

void LaunchAttention(CudaBackend& backend, const AttentionPlan& plan, const AttentionArguments& arguments) {
  const Stream& stream = backend.launch_stream();
  if (IsPacked(arguments.format)) {
    if (plan.walks > 0) LaunchPackedWalks(stream, plan, arguments);
    if (plan.splits > 0) LaunchPackedSplits(backend, plan, arguments);
    if (plan.records > 0) LaunchMerge(stream, arguments);
    return;
  }
  WithHeadDim(arguments.heads.head_dim, [&]<int kDim>() {
    if (plan.walks > 0) LaunchWalks<kDim>(stream, plan, arguments);
    if (plan.splits > 0) LaunchSplits<kDim>(backend, plan, arguments);
  });
}

// Every KV head is read here, and quads of channels are aligned.
bool CanTurn(const TensorView<float>& qkv, const HeadShard& heads, const TensorView<const float>& cos_sin) {
  const auto bits = reinterpret_cast<uintptr_t>(qkv.data()) | reinterpret_cast<uintptr_t>(cos_sin.data());
  return heads.head_dim % kUnitHalves == 0 && bits % 16 == 0 && heads.query_heads > 0 &&
         heads.LocalKv(0) == 0 && heads.LocalKv(heads.query_heads - 1) == heads.kv_heads - 1;
}

}  // namespace

void CudaBackend::Attend(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                         const KvLayer& cache, const float* cos_sin, TensorView<float> out) {
  const int64_t dim = heads.head_dim;
  CHECK(heads.kv_heads == cache.kv_heads && dim == cache.head_dim, "Attention: the cache has other heads");
  CHECK(qkv.cols() == (heads.query_heads + 2 * heads.kv_heads) * dim, "Attention shapes");
  CHECK(out.rows() == qkv.rows() && out.cols() == heads.query_heads * dim, "Attention shapes");
  CHECK(cache.format != KvFormat::kF32, "Attention: halves or a packed format on CUDA");
  CHECK(dim > 0 && dim % 2 == 0 && dim <= 256, "Attention: an even head_dim up to 256 on CUDA");
  CHECK(!IsPacked(cache.format) || dim % 16 == 0, "Attention: packed formats need a multiple of 16 channels");
  CHECK(cache.query_bits == 0 || cache.query_bits == 4, "Attention: queries of 4 bits or as they are");
  slices_.CheckCache(slices, out.rows(), cache.blocks);
  if (heads.query_heads == 0) return;
  const AttentionPlan& plan = slices_.plan();
  const int64_t records = plan.records * heads.query_heads;
  float* const sums = records == 0 ? nullptr : Scratch<float>(Purpose::kPartials, records * (dim + 2));
  AttentionArguments arguments = {};
  arguments.qkv = qkv.data();
  arguments.qkv_stride = qkv.cols();
  arguments.out = out.data();
  arguments.out_stride = out.cols();
  arguments.cache = cache.data;
  arguments.format = cache.format;
  arguments.query_bits = cache.query_bits;
  arguments.heads = heads;
  arguments.scale = static_cast<float>(M_LOG2E / std::sqrt(static_cast<double>(dim)));
  arguments.record_sums = sums;
  arguments.record_stats = reinterpret_cast<float2*>(sums + records * dim);
  if (records > 0) arguments.arrivals = Scratch<int32_t>(Purpose::kCounters, SplitTileCount(plan, heads));
  arguments.cos_sin = cos_sin;
  arguments.slices = slices_.device();
  LaunchAttention(*this, plan, arguments);
}

void CudaBackend::Attention(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                            const KvLayer& cache, TensorView<float> out) {
  Attend(qkv, heads, slices, cache, nullptr, out);
}

void CudaBackend::RopeAttention(TensorView<float> qkv, const HeadShard& heads,
                                TensorView<const float> cos_sin, const KvSlices& slices, const KvLayer& cache,
                                TensorView<float> out) {
  const AttentionPlan& plan = slices_.plan();
  const bool kernel_turns = IsPacked(cache.format) ? PackedSplitsTurn(plan, heads) : cache.query_bits == 0;
  if (!kernel_turns || !plan.whole_slices || !CanTurn(qkv, heads, cos_sin)) {
    RopeWriteKv(qkv, heads, cos_sin, slices, cache);
    return Attention(qkv, heads, slices, cache, out);
  }
  CHECK(cos_sin.cols() == heads.head_dim, "RopeAttention shapes");
  for (const KvSlice& slice : slices.host) {
    CHECK(slice.position + slice.rows <= cos_sin.rows(), "RopeAttention: a position has no angle");
  }
  Attend(qkv, heads, slices, cache, cos_sin.data(), out);
}

}  // namespace ternion::cuda
