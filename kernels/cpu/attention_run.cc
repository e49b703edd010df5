// One tile over one block: scores of all queries, weights, weighted sums. Halves become floats once for all queries; codes
// are read as they are (packed_attention.h). The arithmetic of a query is the same alone and in company.
#include "kernels/cpu/attention_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/kv_block.h"

namespace ternion::cpu {

static_assert(kAttentionTokens == kKvBlockTokens);

AttentionTileRun::AttentionTileRun(const AttentionStep& step, const AttentionTile& tile)
    : step_(step),
      tile_(tile),
      padded_(step.padded()),
      query_(tile.queries() * step.heads.head_dim),
      scores_(tile.queries() * kKvBlockTokens),
      used_(tile.queries()),
      block_(IsPacked(step.cache.format) ? 0 : (step.heads.head_dim + int64_t{padded_}) * kKvBlockTokens) {
  const int64_t dim = step.heads.head_dim;
  for (int64_t row = 0; row < tile.rows; ++row) {
    const float* queries =
        step.qkv.row(tile.slice->row_begin + tile.row_begin + row) + tile.query_begin * dim;
    std::copy_n(queries, tile.query_heads * dim, query_.data() + row * tile.query_heads * dim);
  }
  if (step.cache.query_bits == 4) RoundQueries();
  if (IsPacked(step.cache.format)) packed_.emplace(step, tile, query_.data());
}

void AttentionTileRun::RoundQueries() {
  const int64_t dim = step_.heads.head_dim;
  const QuantizeKernels& kernels = *step_.kernels.quantize;
  Scratch<int8_t> codes(dim);
  for (int64_t q = 0; q < tile_.queries(); ++q) {
    float* const query = query_.data() + q * dim;
    const float most = kernels.abs_max(query, dim);
    if (most == 0) continue;
    kernels.quantize_int4(query, 7.0f / most, dim, codes.data());
    for (int64_t d = 0; d < dim; ++d) query[d] = static_cast<float>(codes[d]) * (most / 7.0f);
  }
}

int64_t AttentionTileRun::FirstQuery(int64_t index) const {
  const int64_t rows_before = index * kKvBlockTokens - tile_.position(0);
  return std::max<int64_t>(0, rows_before) * tile_.query_heads;
}

void AttentionTileRun::Block(int64_t index, PartialSoftmax block) {
  const int64_t first = FirstQuery(index), queries = tile_.queries() - first;
  const AttentionKernels& kernels = *step_.kernels.attention;
  for (int64_t q = first; q < tile_.queries(); ++q) {
    const int64_t seen = tile_.position(q) - index * kKvBlockTokens + 1;
    used_[q] = static_cast<int>(std::min<int64_t>(kKvBlockTokens, seen));
  }
  float* const scores = scores_.data() + first * kKvBlockTokens;
  float* const sums = block.sums + first * padded_;
  std::fill_n(sums, queries * padded_, 0.0f);
  if (packed_.has_value()) {
    packed_->Open(index, used_[tile_.queries() - 1]);
    packed_->Scores(first, scores);
  } else {
    Scores(Keys(index), first, scores);
  }
  kernels.weights(used_.data() + first, queries, scores, block.most + first, block.total + first);
  packed_.has_value() ? packed_->AddValues(first, scores, sums) : AddValues(Values(index), first, sums);
}

void AttentionTileRun::Scores(const float* keys, int64_t first, float* scores) {
  const int dim = step_.heads.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  step_.kernels.attention->scores(query_.data() + first * dim, keys, dim, tile_.queries() - first, scale,
                                  scores);
}

// Slots beyond a query's position are not even multiplied by zero: they may hold anything.
void AttentionTileRun::AddValues(const float* values, int64_t first, float* sums) {
  const AttentionKernels& kernels = *step_.kernels.attention;
  const int64_t queries = tile_.queries() - first;
  const float* const weights = scores_.data() + first * kKvBlockTokens;
  const int seen_by_all = used_[first];
  kernels.weighted_sums(weights, values, 0, seen_by_all, padded_, queries, sums);
  for (int64_t q = 0; q < queries; ++q) {
    kernels.weighted_sums(weights + q * kKvBlockTokens, values, seen_by_all, used_[first + q], padded_, 1,
                          sums + q * padded_);
  }
}

const float* AttentionTileRun::Keys(int64_t index) {
  const KvLayer& cache = step_.cache;
  if (cache.format == KvFormat::kF32) return KvBlock<const float>(cache, *tile_.slice, index, tile_.kv_head);
  const auto* keys = KvBlock<const Float16>(cache, *tile_.slice, index, tile_.kv_head);
  step_.kernels.half->widen(&keys->bits, KvBlockElements(cache), block_.data());
  return block_.data();
}

const float* AttentionTileRun::Values(int64_t index) {
  const KvLayer& cache = step_.cache;
  const int64_t dim = cache.head_dim;
  float* scratch = block_.data() + dim * kKvBlockTokens;
  const float* unpadded = scratch;
  if (cache.format == KvFormat::kF32) {
    unpadded = KvBlock<const float>(cache, *tile_.slice, index, tile_.kv_head) + KvBlockElements(cache);
  } else {
    const auto* values =
        KvBlock<const Float16>(cache, *tile_.slice, index, tile_.kv_head) + KvBlockElements(cache);
    step_.kernels.half->widen(&values->bits, KvBlockElements(cache), scratch);
  }
  if (dim == padded_) return unpadded;
  // Backwards, since the rows may be spread within the scratch itself.
  for (int64_t j = kKvBlockTokens - 1; j >= 0; --j) {
    std::memmove(scratch + j * padded_, unpadded + j * dim, dim * sizeof(float));
    std::fill(scratch + j * padded_ + dim, scratch + (j + 1) * padded_, 0.0f);
  }
  return scratch;
}

void AttentionTileRun::Merge(int64_t index, PartialSoftmax block, PartialSoftmax running) const {
  for (int64_t q = FirstQuery(index); q < tile_.queries(); ++q) {
    if (index == 0) {
      running.most[q] = block.most[q];
      running.total[q] = block.total[q];
      std::copy_n(block.sums + q * padded_, padded_, running.sums + q * padded_);
    } else {
      step_.kernels.attention->merge(block.most[q], block.total[q], block.sums + q * padded_, padded_,
                                     running.most + q, running.total + q, running.sums + q * padded_);
    }
  }
}

void AttentionTileRun::Finish(PartialSoftmax running) const {
  const int64_t dim = step_.heads.head_dim;
  for (int64_t q = 0; q < tile_.queries(); ++q) {
    float* row = step_.out.row(tile_.slice->row_begin + tile_.row_begin + q / tile_.query_heads);
    step_.kernels.attention->divide(running.sums + q * padded_, running.total[q], dim,
                                    row + (tile_.query_begin + q % tile_.query_heads) * dim);
  }
}

}  // namespace ternion::cpu
