// Causal attention over the paged cache, block by block (kernels/backend.h has the order of every sum).
//
// Many tiles: a thread takes a tile through all its blocks. Few tiles over many blocks (one sequence, long
// context): threads share a tile's blocks, and the tile's partial results are merged afterwards in the same
// order. Decode is bound by reading the cache and turning it into floats, prefill by multiplying and adding.
#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cpu/attention_run.h"
#include "kernels/cpu/cpu_backend.h"

namespace ternion::cpu {
namespace {

constexpr int64_t kBlocksOfTask = 4;
constexpr int64_t kTilesPerThread = 4;             // with fewer, threads would wait for the longest
constexpr int64_t kMostFloats = int64_t{1} << 24;  // of partial results

void RunWhole(const AttentionStep& step, const AttentionTile& tile) {
  const int64_t size = PartialSoftmax::Size(tile.queries(), step.padded());
  Scratch<float> memory(2 * size);
  const PartialSoftmax block = PartialSoftmax::At(memory.data(), tile.queries());
  const PartialSoftmax running = PartialSoftmax::At(memory.data() + size, tile.queries());
  AttentionTileRun run(step, tile);
  for (int64_t index = 0; index < tile.blocks(); ++index) {
    run.Block(index, block);
    run.Merge(index, block, running);
  }
  run.Finish(running);
}

// Tiles whose blocks are shared out.
class SplitTiles {
 public:
  SplitTiles(const AttentionStep& step, const std::vector<AttentionTile>& tiles)
      : step_(step), tiles_(tiles) {
    for (const AttentionTile& tile : tiles) {
      begins_.push_back(floats_);
      floats_ += tile.blocks() * Size(tile);
      for (int64_t begin = 0; begin < tile.blocks(); begin += kBlocksOfTask) {
        ranges_.push_back({&tile - tiles.data(), begin, std::min(tile.blocks(), begin + kBlocksOfTask)});
      }
    }
  }

  bool Worthwhile(int threads) const {
    const auto tiles = static_cast<int64_t>(tiles_.size());
    return threads > 1 && tiles < kTilesPerThread * threads && ranges_.size() > tiles_.size() &&
           floats_ <= kMostFloats;
  }

  void Run(ThreadPool& pool) const {
    Scratch<float> partials(floats_);
    pool.ForEach(static_cast<int64_t>(ranges_.size()),
                 [&](int64_t task) { RunRange(ranges_[task], partials.data()); });
    pool.ForEach(static_cast<int64_t>(tiles_.size()),
                 [&](int64_t tile) { MergeTile(tile, partials.data()); });
  }

 private:
  struct BlockRange {
    int64_t tile;
    int64_t begin;
    int64_t end;
  };

  int64_t Size(const AttentionTile& tile) const {
    return PartialSoftmax::Size(tile.queries(), step_.padded());
  }
  PartialSoftmax Partial(int64_t tile, int64_t index, float* partials) const {
    return PartialSoftmax::At(partials + begins_[tile] + index * Size(tiles_[tile]), tiles_[tile].queries());
  }

  void RunRange(const BlockRange& range, float* partials) const {
    AttentionTileRun run(step_, tiles_[range.tile]);
    for (int64_t index = range.begin; index < range.end; ++index) {
      run.Block(index, Partial(range.tile, index, partials));
    }
  }

  void MergeTile(int64_t tile, float* partials) const {
    const AttentionTileRun run(step_, tiles_[tile]);
    const PartialSoftmax running = Partial(tile, 0, partials);
    for (int64_t index = 1; index < tiles_[tile].blocks(); ++index) {
      run.Merge(index, Partial(tile, index, partials), running);
    }
    run.Finish(running);
  }

  const AttentionStep& step_;
  const std::vector<AttentionTile>& tiles_;
  std::vector<int64_t> begins_;  // [tiles] of a tile's partial results
  std::vector<BlockRange> ranges_;
  int64_t floats_ = 0;
};

}  // namespace

void CpuBackend::Attention(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                           const KvLayer& cache, TensorView<float> out) {
  const int64_t dim = heads.head_dim;
  CHECK(heads.kv_heads == cache.kv_heads && dim == cache.head_dim, "Attention: the cache has other heads");
  CHECK(qkv.cols() == (heads.query_heads + 2 * heads.kv_heads) * dim, "Attention shapes");
  CHECK(out.rows() == qkv.rows() && out.cols() == heads.query_heads * dim, "Attention shapes");
  for (const KvSlice& slice : slices.host) {
    CHECK(slice.row_begin >= 0 && slice.row_begin + slice.rows <= out.rows(),
          "Attention: a slice outside the step");
    CHECK(slice.position >= 0, "Attention: a position before the first");
  }
  const AttentionStep step{KernelsFor(isa_), qkv, heads, cache, out};
  const std::vector<AttentionTile> tiles = TilesOf(step, slices.host);
  const SplitTiles split(step, tiles);
  if (split.Worthwhile(pool_.threads())) return split.Run(pool_);
  // The longest first, so that the last task is a short one.
  std::vector<int64_t> order(tiles.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return tiles[a].blocks() > tiles[b].blocks(); });
  pool_.ForEach(static_cast<int64_t>(tiles.size()),
                [&](int64_t task) { RunWhole(step, tiles[order[task]]); });
}

}  // namespace ternion::cpu
