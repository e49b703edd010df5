#include "kernels/cpu/packed_attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/kv_block.h"

namespace ternion::cpu {

PackedAttention::PackedAttention(const AttentionStep& step, const AttentionTile& tile, const float* query)
    : step_(step),
      tile_(tile),
      query_(query),
      scale_count_(Head(0).parts() * kKvBlockTokens),
      query_sums_(tile.queries() * step.heads.head_dim / kScoreSegment),
      scales_(2 * scale_count_) {
  for (int64_t i = 0; i < tile.queries() * step.heads.head_dim / kScoreSegment; ++i) {
    float sum = 0;
    for (int d = 0; d < kScoreSegment; ++d) sum += query[i * kScoreSegment + d];
    query_sums_[i] = sum;
  }
}

PackedHead PackedAttention::Head(int64_t index) const {
  return {step_.cache.format, step_.cache.head_dim,
          KvBlock<uint8_t>(step_.cache, *tile_.slice, index, tile_.kv_head)};
}

// A packed block is too short for the processor to foresee the next.
void PackedAttention::Prefetch(int64_t index) const {
  if (index >= tile_.blocks()) return;
  constexpr int64_t kLine = 64;
  const auto* bytes = KvBlock<const char>(step_.cache, *tile_.slice, index, tile_.kv_head);
  const int64_t size = KvHeadBytes(step_.cache.format, step_.cache.head_dim);
  for (int64_t at = 0; at < size; at += kLine) __builtin_prefetch(bytes + at);
}

void PackedAttention::Open(int64_t index, int seen) {
  index_ = index;
  Prefetch(index + 1);
  const PackedHead head = Head(index);
  step_.kernels.half->widen(&head.scales(PackedHead::kKeys)->bits, 2 * scale_count_, scales_.data());
  // Codes are numbers whatever their bytes are; scales need not be.
  for (int64_t row = 0; row < 2 * scale_count_; row += kKvBlockTokens) {
    std::fill(scales_.data() + row + seen, scales_.data() + row + kKvBlockTokens, 0.0f);
  }
}

void PackedAttention::Scores(int64_t first, float* scores) {
  const int dim = step_.heads.head_dim;
  const PackedQuery query = {query_ + first * dim, query_sums_.data() + first * (dim / kScoreSegment),
                             1.0f / std::sqrt(static_cast<float>(dim))};
  step_.kernels.packed_attention->scores(Head(index_).Codes(PackedHead::kKeys, scales(PackedHead::kKeys)),
                                         query, tile_.queries() - first, scores);
  if (at_first()) FirstScores(query, tile_.queries() - first, scores);
}

void PackedAttention::FirstScores(const PackedQuery& query, int64_t queries, float* scores) {
  const int dim = step_.heads.head_dim;
  Scratch<float> key(dim);
  Head(0).ReadFirst(PackedHead::kKeys, key.data());
  for (int64_t q = 0; q < queries; ++q) {
    float score = 0;
    for (int begin = 0; begin < dim; begin += kScoreSegment) {
      float part = 0;
      for (int d = begin; d < begin + kScoreSegment; ++d) part += query.rows[q * dim + d] * key[d];
      score += part;
    }
    scores[q * kKvBlockTokens] = score * scales(PackedHead::kKeys)[0] * query.factor;
  }
}

void PackedAttention::AddValues(int64_t first, float* weights, float* sums) {
  const int64_t queries = tile_.queries() - first;
  const PackedCodes values = Head(index_).Codes(PackedHead::kValues, scales(PackedHead::kValues));
  if (!values.grouped) {
    for (float* row = weights; row < weights + queries * kKvBlockTokens; row += kKvBlockTokens) {
      step_.kernels.rows->multiply(row, values.scales, kKvBlockTokens, row);
    }
  }
  if (at_first()) AddFirstValue(queries, weights, sums);
  step_.kernels.packed_attention->weighted_sums(values, weights, queries, sums);
}

// Before all others, which then find a weight of 0 there.
void PackedAttention::AddFirstValue(int64_t queries, float* weights, float* sums) {
  const int dim = step_.heads.head_dim;
  Scratch<float> value(dim);
  Head(0).ReadFirst(PackedHead::kValues, value.data());
  for (int64_t q = 0; q < queries; ++q) {
    float* const weight = weights + q * kKvBlockTokens;
    for (int d = 0; d < dim; ++d) sums[q * dim + d] += *weight * value[d];
    *weight = 0;
  }
}

}  // namespace ternion::cpu
