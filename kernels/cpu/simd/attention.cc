// The arithmetic of one KV block for a tile of query rows. Scores vectorize over the block's tokens, weighted
// sums over channels, so that each result is a chain in ascending order. Four query rows share every
// load of a key or value; the rest is bound by multiplying and adding.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/exp.h"
#include "kernels/cpu/simd/vec.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

constexpr int kTokens = kAttentionTokens;
// Vectors of results that a tile of four rows holds in registers.
constexpr int kTileVecs = kLanes == 16 ? 4 : 2;
constexpr int kTile = kTileVecs * kLanes;

// Scores of kQ rows against the block: per segment of channels a chain in registers, then the segments' chain in
// memory.
template <int kQ>
inline void ScoreTile(const float* query, const float* keys, int head_dim, float scale, float* scores) {
  for (int j = 0; j < kTokens; j += kTile) {
    for (int begin = 0; begin < head_dim; begin += kScoreSegment) {
      const int end = begin + kScoreSegment < head_dim ? begin + kScoreSegment : head_dim;
      Vec sum[kQ][kTileVecs] = {};
      for (int d = begin; d < end; ++d) {
        Vec key[kTileVecs];
        for (int i = 0; i < kTileVecs; ++i) key[i] = Load(keys + d * kTokens + j + i * kLanes);
        for (int q = 0; q < kQ; ++q) {
          for (int i = 0; i < kTileVecs; ++i) sum[q][i] += query[q * head_dim + d] * key[i];
        }
      }
      const float factor = end == head_dim ? scale : 1.0f;
      for (int q = 0; q < kQ; ++q) {
        for (int i = 0; i < kTileVecs; ++i) {
          float* const score = scores + q * kTokens + j + i * kLanes;
          Store((begin == 0 ? sum[q][i] : Load(score) + sum[q][i]) * factor, score);
        }
      }
    }
  }
}

void Scores(const float* query, const float* keys, int head_dim, int64_t queries, float scale,
            float* scores) {
  int64_t q = 0;
  for (; q + 4 <= queries; q += 4) {
    ScoreTile<4>(query + q * head_dim, keys, head_dim, scale, scores + q * kTokens);
  }
  for (; q < queries; ++q) ScoreTile<1>(query + q * head_dim, keys, head_dim, scale, scores + q * kTokens);
}

// The maximum of a row whose slots from `used` on become -infinity.
float MaskedMax(int used, float* row) {
  for (int j = used; j < kTokens; ++j) row[j] = -__builtin_inff();
  Vec most = Load(row);
  for (int j = kLanes; j < kTokens; j += kLanes) {
    const Vec next = Load(row + j);
    most = next > most ? next : most;
  }
  float result = most[0];
  for (int i = 1; i < kLanes; ++i) result = most[i] > result ? most[i] : result;
  return result;
}

void Exponentials(float most, float* row) {
  for (int j = 0; j < kTokens; ++j) row[j] = Exp(row[j] - most);
}

// Sums of kQ rows, side by side: a chain of 64 additions is all latency.
template <int kQ>
inline void Totals(const float* rows, float* total) {
  float sum[kQ] = {};
  for (int j = 0; j < kTokens; ++j) {
    for (int q = 0; q < kQ; ++q) sum[q] += rows[q * kTokens + j];
  }
  for (int q = 0; q < kQ; ++q) total[q] = sum[q];
}

void Weights(const int* used, int64_t queries, float* scores, float* most, float* total) {
  for (int64_t q = 0; q < queries; ++q) {
    most[q] = MaskedMax(used[q], scores + q * kTokens);
    Exponentials(most[q], scores + q * kTokens);
  }
  int64_t q = 0;
  for (; q + 4 <= queries; q += 4) Totals<4>(scores + q * kTokens, total + q);
  for (; q < queries; ++q) Totals<1>(scores + q * kTokens, total + q);
}

template <int kQ, int kVecs>
inline void SumTile(const float* weights, const float* values, int begin, int end, int padded, float* sums) {
  Vec sum[kQ][kVecs];
  for (int q = 0; q < kQ; ++q) {
    for (int i = 0; i < kVecs; ++i) sum[q][i] = Load(sums + q * padded + i * kLanes);
  }
  for (int j = begin; j < end; ++j) {
    Vec value[kVecs];
    for (int i = 0; i < kVecs; ++i) value[i] = Load(values + j * padded + i * kLanes);
    for (int q = 0; q < kQ; ++q) {
      for (int i = 0; i < kVecs; ++i) sum[q][i] += weights[q * kTokens + j] * value[i];
    }
  }
  for (int q = 0; q < kQ; ++q) {
    for (int i = 0; i < kVecs; ++i) Store(sum[q][i], sums + q * padded + i * kLanes);
  }
}

template <int kQ>
inline void SumRows(const float* weights, const float* values, int begin, int end, int padded, float* sums) {
  int d = 0;
  for (; d + kTile <= padded; d += kTile) {
    SumTile<kQ, kTileVecs>(weights, values + d, begin, end, padded, sums + d);
  }
  for (; d < padded; d += kLanes) SumTile<kQ, 1>(weights, values + d, begin, end, padded, sums + d);
}

void WeightedSums(const float* weights, const float* values, int begin, int end, int padded, int64_t queries,
                  float* sums) {
  int64_t q = 0;
  for (; q + 4 <= queries; q += 4) {
    SumRows<4>(weights + q * kTokens, values, begin, end, padded, sums + q * padded);
  }
  for (; q < queries; ++q) SumRows<1>(weights + q * kTokens, values, begin, end, padded, sums + q * padded);
}

void Merge(float most, float total, const float* sums, int padded, float* running_most, float* running_total,
           float* running_sums) {
  const float merged = most > *running_most ? most : *running_most;
  const float old_factor = Exp(*running_most - merged), new_factor = Exp(most - merged);
  *running_most = merged;
  *running_total = *running_total * old_factor + total * new_factor;
  for (int d = 0; d < padded; ++d) running_sums[d] = running_sums[d] * old_factor + sums[d] * new_factor;
}

void Divide(const float* x, float by, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] / by;
}

}  // namespace

const AttentionKernels kAttentionKernels = {Scores, Weights, WeightedSums, Merge, Divide};

}  // namespace ternion::cpu::TERNION_ISA
