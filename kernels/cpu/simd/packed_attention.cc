// Attention over the packed codes of one KV block. A code becomes a float in a register and is used at once for a few
// query rows; nothing is written back, so that a block costs its bytes and the multiplications. A short code is
// looked up in a vector of values (a shift and a permutation), others are shifted to both ends and converted.
//
// GCC must not sink the unrolled sums to their last use (-fno-tree-ter in kernels/CMakeLists.txt): it would then spill
// every unpacked vector.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/vec.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

constexpr int kTokens = kAttentionTokens;
constexpr int kSegment = kScoreSegment;
constexpr int kRows = kLanes == 4 ? 1 : 4;  // that share an unpacked code
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kUnroll = 1;  // each line becomes many there, which would take minutes to compile
#else
constexpr int kUnroll = 32;  // all
#endif

typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t UnalignedWords __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

template <int kBitsOfCode, bool kIsGrouped>
struct Format {
  static constexpr int kBits = kBitsOfCode;
  static constexpr bool kGrouped = kIsGrouped;  // codes count from a minimum; else they are two's complement
  static constexpr bool kLookedUp = 1 << kBits <= kLanes;
  // Codes of a lane that fill whole words: the loop over them is unrolled, so that shifts are constants.
  static constexpr int kPeriod = kBits == 3 ? kPackedDepth : 32 / kBits;
  static constexpr int kPeriodWords = kPackedLanes * kBits * kPeriod / 32;
  static constexpr int kUnitWords = kPackedLanes * kBits;
};

// Lane i: the number that code i (modulo 2^kBits) stands for.
template <typename F>
inline Vec CodeNumbers() {
  Vec numbers;
  for (int i = 0; i < kLanes; ++i) {
    const int code = i % (1 << F::kBits);
    const bool negative = !F::kGrouped && code >= 1 << (F::kBits - 1);
    numbers[i] = static_cast<float>(negative ? code - (1 << F::kBits) : code);
  }
  return numbers;
}

// Code k of every lane, of those whose first word is at `words`, in the lowest bits; what stands above does not matter.
template <typename F>
[[gnu::always_inline]] inline Words Field(const uint32_t* words, int k) {
  const int shift = F::kBits * k % 32;
  const uint32_t* const word = words + F::kBits * k / 32 * kPackedLanes;
  const Words low = *reinterpret_cast<const UnalignedWords*>(word) >> shift;
  if (shift + F::kBits <= 32) return low;
  return low | *reinterpret_cast<const UnalignedWords*>(word + kPackedLanes) << (32 - shift);
}

// The numbers of a field's codes, or what `numbers` has in their place where codes are looked up.
template <typename F>
[[gnu::always_inline]] inline Vec Number(Words field, Vec numbers) {
  if constexpr (F::kLookedUp) {
    return __builtin_shuffle(numbers, field);
  } else if constexpr (F::kGrouped) {
    return __builtin_convertvector(reinterpret_cast<Ints>(field & ((1u << F::kBits) - 1)), Vec);
  } else {
    const Ints top = reinterpret_cast<Ints>(field << (32 - F::kBits));
    return __builtin_convertvector(top >> (32 - F::kBits), Vec);
  }
}

// ---- Scores. Lanes are tokens; a unit holds eight channels of the block's four groups of 16 tokens.

constexpr int kTokenGroups = kTokens / kPackedLanes;
constexpr int kUnitChannels = kPackedDepth / kTokenGroups;
// Groups whose sums of kRows rows stay in registers.
constexpr int kPassGroups = kLanes == 16 ? kTokenGroups : 1;

template <int kQ>
using ScoreSums = Vec[kQ][kPassGroups][kVecsOf16];

template <typename F, int kQ, int kFirstGroup>
[[gnu::always_inline]] inline void AddKeys(const uint32_t* unit, const float* query, int head_dim,
                                           ScoreSums<kQ>& sum) {
  constexpr int kChannels = F::kPeriod / kTokenGroups;
  const Vec numbers = CodeNumbers<F>();
  for (int begin = 0; begin < kUnitChannels; begin += kChannels, unit += F::kPeriodWords) {
#pragma GCC unroll kUnroll
    for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll kUnroll
      for (int g = 0; g < kPassGroups; ++g) {
#pragma GCC unroll kUnroll
        for (int i = 0; i < kVecsOf16; ++i) {
          const Words field = Field<F>(unit + i * kLanes, kTokenGroups * c + kFirstGroup + g);
          const Vec key = Number<F>(field, numbers);
#pragma GCC unroll kUnroll
          for (int q = 0; q < kQ; ++q) sum[q][g][i] += query[q * head_dim + begin + c] * key;
        }
      }
    }
  }
}

// A segment's sums of codes become sums of keys, and join those of the segments before.
template <typename F, int kQ, int kFirstGroup>
[[gnu::always_inline]] inline void AddSegment(const PackedCodes& keys, const PackedQuery& query, int segment,
                                              const ScoreSums<kQ>& sum, float* scores) {
  const int segments = keys.head_dim / kSegment;
  const float* const scales =
      keys.scales + (F::kGrouped ? segment / (kPackedGroup / kSegment) * 2 * kTokens : 0);
  for (int g = 0; g < kPassGroups; ++g) {
    for (int i = 0; i < kVecsOf16; ++i) {
      const int j = (kFirstGroup + g) * kPackedLanes + i * kLanes;
      for (int q = 0; q < kQ; ++q) {
        float* const score = scores + q * kTokens + j;
        Vec part = sum[q][g][i];
        if (F::kGrouped) {
          part = part * Load(scales + kTokens + j) + Load(scales + j) * query.sums[q * segments + segment];
        }
        if (segment > 0) part = Load(score) + part;
        if (segment + 1 == segments) part = (F::kGrouped ? part : part * Load(scales + j)) * query.factor;
        Store(part, score);
      }
    }
  }
}

template <typename F, int kQ, int kFirstGroup = 0>
void ScoreRows(const PackedCodes& keys, const PackedQuery& query, float* scores) {
  for (int segment = 0; segment < keys.head_dim / kSegment; ++segment) {
    ScoreSums<kQ> sum = {};
    for (int begin = segment * kSegment; begin < (segment + 1) * kSegment; begin += kUnitChannels) {
      AddKeys<F, kQ, kFirstGroup>(keys.codes + begin / kUnitChannels * F::kUnitWords, query.rows + begin,
                                  keys.head_dim, sum);
    }
    AddSegment<F, kQ, kFirstGroup>(keys, query, segment, sum, scores);
  }
  if constexpr (kFirstGroup + kPassGroups < kTokenGroups) {
    ScoreRows<F, kQ, kFirstGroup + kPassGroups>(keys, query, scores);
  }
}

// ---- Weighted sums. Lanes are channels; a unit holds 16 channels of half the tokens, and a column of 16 channels is two
// units.

template <int kQ, int kColumns>
using ValueSums = Vec[kQ][kColumns][kVecsOf16];

template <typename F, int kQ, int kColumns>
[[gnu::always_inline]] inline void AddValues(const PackedCodes& values, const float* weights, int column,
                                             int half, ValueSums<kQ, kColumns>& sum) {
  const Vec numbers = CodeNumbers<F>();
  const uint32_t* units = values.codes + (2 * column + half) * F::kUnitWords;
  const int end = (half + 1) * kPackedDepth;
  for (int begin = half * kPackedDepth; begin < end; begin += F::kPeriod, units += F::kPeriodWords) {
#pragma GCC unroll kUnroll
    for (int k = 0; k < F::kPeriod; ++k) {
      const int j = begin + k;
#pragma GCC unroll kUnroll
      for (int c = 0; c < kColumns; ++c) {
        const float* const scales =
            values.scales + (F::kGrouped ? (column + c) / (kPackedGroup / kPackedLanes) * 2 * kTokens : 0);
        const float minimum = scales[j], step = F::kGrouped ? scales[kTokens + j] : 0;
        const Vec looked_up = F::kGrouped && F::kLookedUp ? minimum + numbers * step : numbers;
#pragma GCC unroll kUnroll
        for (int i = 0; i < kVecsOf16; ++i) {
          const Words field = Field<F>(units + 2 * c * F::kUnitWords + i * kLanes, k);
          Vec value = Number<F>(field, looked_up);
          if (F::kGrouped && !F::kLookedUp) value = minimum + value * step;
#pragma GCC unroll kUnroll
          for (int q = 0; q < kQ; ++q) sum[q][c][i] += weights[q * kTokens + j] * value;
        }
      }
    }
  }
}

template <typename F, int kQ, int kColumns>
void SumColumns(const PackedCodes& values, const float* weights, int column, float* sums) {
  ValueSums<kQ, kColumns> sum;
  const auto place = [&](int q, int c, int i) {
    return sums + q * values.head_dim + (column + c) * kPackedLanes + i * kLanes;
  };
  for (int q = 0; q < kQ; ++q) {
    for (int c = 0; c < kColumns; ++c) {
      for (int i = 0; i < kVecsOf16; ++i) sum[q][c][i] = Load(place(q, c, i));
    }
  }
  for (int half = 0; half < 2; ++half) AddValues<F, kQ, kColumns>(values, weights, column, half, sum);
  for (int q = 0; q < kQ; ++q) {
    for (int c = 0; c < kColumns; ++c) {
      for (int i = 0; i < kVecsOf16; ++i) Store(sum[q][c][i], place(q, c, i));
    }
  }
}

template <typename F, int kQ>
void SumRows(const PackedCodes& values, const float* weights, float* sums) {
  // Enough chains of additions to hide their latency.
  constexpr int kColumns = (kLanes == 16 ? 2 : 1) * (kQ <= 2 ? 2 : 1);
  const int columns = values.head_dim / kPackedLanes;
  int column = 0;
  for (; column + kColumns <= columns; column += kColumns) {
    SumColumns<F, kQ, kColumns>(values, weights, column, sums);
  }
  for (; column < columns; ++column) SumColumns<F, kQ, 1>(values, weights, column, sums);
}

// ---- All rows: kQ at a time, and the rest together.

template <typename F, int kQ = kRows>
void FormatScores(const PackedCodes& keys, PackedQuery query, int64_t queries, float* scores) {
  for (; queries >= kQ; queries -= kQ) {
    ScoreRows<F, kQ>(keys, query, scores);
    query.rows += kQ * keys.head_dim;
    query.sums += kQ * (keys.head_dim / kSegment);
    scores += kQ * kTokens;
  }
  if constexpr (kQ > 1) FormatScores<F, kQ - 1>(keys, query, queries, scores);
}

template <typename F, int kQ = kRows>
void FormatSums(const PackedCodes& values, const float* weights, int64_t queries, float* sums) {
  for (; queries >= kQ; queries -= kQ) {
    SumRows<F, kQ>(values, weights, sums);
    weights += kQ * kTokens;
    sums += kQ * values.head_dim;
  }
  if constexpr (kQ > 1) FormatSums<F, kQ - 1>(values, weights, queries, sums);
}

void Scores(const PackedCodes& keys, const PackedQuery& query, int64_t queries, float* scores) {
  if (keys.bits == 8) return FormatScores<Format<8, false>>(keys, query, queries, scores);
  if (keys.bits == 4 && !keys.grouped) return FormatScores<Format<4, false>>(keys, query, queries, scores);
  if (keys.bits == 3 && !keys.grouped) return FormatScores<Format<3, false>>(keys, query, queries, scores);
  if (keys.bits == 4) return FormatScores<Format<4, true>>(keys, query, queries, scores);
  return FormatScores<Format<3, true>>(keys, query, queries, scores);
}

void WeightedSums(const PackedCodes& values, const float* weights, int64_t queries, float* sums) {
  if (values.bits == 8) return FormatSums<Format<8, false>>(values, weights, queries, sums);
  if (values.bits == 4 && !values.grouped)
    return FormatSums<Format<4, false>>(values, weights, queries, sums);
  if (values.bits == 3 && !values.grouped)
    return FormatSums<Format<3, false>>(values, weights, queries, sums);
  if (values.bits == 4) return FormatSums<Format<4, true>>(values, weights, queries, sums);
  return FormatSums<Format<3, true>>(values, weights, queries, sums);
}

}  // namespace

const PackedAttentionKernels kPackedAttentionKernels = {Scores, WeightedSums};

}  // namespace ternion::cpu::TERNION_ISA
