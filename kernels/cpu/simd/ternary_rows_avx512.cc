// kByOutput: dot products of packed rows, AVX-512 with VNNI.
//
// One token: a tile of four rows shares each load of the activations. A line is masked four ways without
// shifting, so field f sums code * 4^f in an accumulator of its own, and each lane is shifted back once,
// which is exact. Per line that is 1 load, 4 ANDs and 4 vpdpbusd: 4 cycles, so one core keeps up with about
// 45 GB/s of weights. Several tokens: a tile of 4 rows x up to 6 tokens with one accumulator each; fields are
// shifted down first, three more operations per line that 4 * tokens vpdpbusd pay for. This is also the
// matmul of prefill: the 24 accumulators run at the rate of vpdpbusd, and a caller keeps the rows in L2 and
// six tokens' codes in L1.
#ifdef __AVX512F__

#include "kernels/cpu/simd/ternary_avx512.h"
#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

constexpr int kRows = 4;
constexpr int kTokens = 6;
// How far ahead lines are fetched, over the borders of pages, where the hardware's streams stop. Into L2:
// fetches into L1 are limited to a third of the memory's rate by the number of misses it can have under way.
constexpr int64_t kAheadBytes = 8192;

// The sums over 16 lanes of four vectors.
inline __attribute__((always_inline)) __m128i SumLanes(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// Stores the sums of `rows` (1 to 4) accumulators less the activations' sum.
template <int rows>
inline __attribute__((always_inline)) void StoreSums(const __m512i* sums, int32_t code_sum, int32_t* out) {
  const __m512i zero = _mm512_setzero_si512();
  const __m128i four = SumLanes(sums[0], rows > 1 ? sums[1 % rows] : zero, rows > 2 ? sums[2 % rows] : zero,
                                rows > 3 ? sums[3 % rows] : zero);
  _mm_mask_storeu_epi32(out, (1 << rows) - 1, _mm_sub_epi32(four, _mm_set1_epi32(code_sum)));
}

// Four fields of one row, each times 4^f, as one vector of sums.
inline __attribute__((always_inline)) __m512i JoinFields(const __m512i* sums) {
  const __m512i low = _mm512_add_epi32(sums[0], _mm512_srai_epi32(sums[1], 2));
  return _mm512_add_epi32(low,
                          _mm512_add_epi32(_mm512_srai_epi32(sums[2], 4), _mm512_srai_epi32(sums[3], 6)));
}

// The lines are taken in steps of `step`, which is prime to `groups`.
template <int rows>
void DotOneToken(const uint8_t* const* row, const uint8_t* const* ahead, int64_t groups, int64_t step,
                 const int8_t* codes, int32_t code_sum, int32_t* out) {
  __m512i sums[rows][4];
#pragma GCC unroll 8
  for (auto& fields : sums) {
#pragma GCC unroll 8
    for (auto& sum : fields) sum = _mm512_setzero_si512();
  }
  for (int64_t i = 0, g = 0; i < groups; ++i, g += step, g -= g >= groups ? groups : 0) {
    __m512i code[4];
#pragma GCC unroll 4
    for (int f = 0; f < 4; ++f) code[f] = _mm512_loadu_si512(codes + g * 256 + f * 64);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const __m512i line = _mm512_loadu_si512(row[r] + g * 64);
      _mm_prefetch(reinterpret_cast<const char*>(ahead[r] + g * 64), _MM_HINT_T1);
#pragma GCC unroll 4
      for (int f = 0; f < 4; ++f) {
        const __m512i weights = _mm512_and_si512(line, _mm512_set1_epi8(static_cast<char>(3 << 2 * f)));
        AddDots(sums[r][f], weights, code[f]);
      }
    }
  }
  __m512i joined[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) joined[r] = JoinFields(sums[r]);
  StoreSums<rows>(joined, code_sum, out);
}

template <int rows, int tokens>
void DotTile(const uint8_t* row, int64_t row_bytes, const int8_t* codes, const int32_t* code_sums,
             int32_t* out, int64_t out_stride) {
  __m512i sums[tokens][rows];
#pragma GCC unroll 8
  for (auto& token : sums) {
#pragma GCC unroll 8
    for (auto& sum : token) sum = _mm512_setzero_si512();
  }
  const __m512i low_bits = _mm512_set1_epi8(3);
  for (int64_t g = 0; g < row_bytes; g += 64) {
#pragma GCC unroll 4
    for (int f = 0; f < 4; ++f) {
      __m512i weights[rows];
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const __m512i line = _mm512_loadu_si512(row + r * row_bytes + g);
        if (f == 0)
          _mm_prefetch(reinterpret_cast<const char*>(row + r * row_bytes + g + kAheadBytes), _MM_HINT_T1);
        weights[r] = _mm512_and_si512(_mm512_srli_epi16(line, 2 * f), low_bits);
      }
#pragma GCC unroll 6
      for (int t = 0; t < tokens; ++t) {
        const __m512i code = _mm512_loadu_si512(codes + t * row_bytes * 4 + g * 4 + f * 64);
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) AddDots(sums[t][r], weights[r], code);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < tokens; ++t) StoreSums<rows>(sums[t], code_sums[t], out + t * out_stride);
}

template <int rows>
void DotRowsOneToken(const RowDots& work, int64_t begin) {
  const int64_t row_bytes = work.groups * 64;
  const uint8_t* row[rows];
  const uint8_t* ahead[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    row[r] = work.rows + (begin + r) * row_bytes;
    ahead[r] = row[r] + kAheadBytes;
  }
  DotOneToken<rows>(row, ahead, work.groups, 1, work.codes, work.code_sums[0], work.out + begin);
}

template <int tokens>
void DotRowsTokens(const RowDots& work, int64_t first_token) {
  const int64_t row_bytes = work.groups * 64;
  const int8_t* codes = work.codes + first_token * row_bytes * 4;
  const int32_t* code_sums = work.code_sums + first_token;
  int32_t* out = work.out + first_token * work.out_stride;
  int64_t r = 0;
  for (; r + kRows <= work.row_count; r += kRows) {
    DotTile<kRows, tokens>(work.rows + r * row_bytes, row_bytes, codes, code_sums, out + r, work.out_stride);
  }
  for (; r < work.row_count; ++r) {
    DotTile<1, tokens>(work.rows + r * row_bytes, row_bytes, codes, code_sums, out + r, work.out_stride);
  }
}

void DotRowsOneToken(const RowDots& work) {
  int64_t r = 0;
  for (; r + kRows <= work.row_count; r += kRows) DotRowsOneToken<kRows>(work, r);
  for (; r < work.row_count; ++r) DotRowsOneToken<1>(work, r);
}

template <int rows>
void DotListed(const ListedRowDots& work, int64_t begin) {
  const int64_t row_bytes = work.groups * 64;
  const uint8_t* row[rows];
  const uint8_t* ahead[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const int64_t next = begin + r + (kAheadBytes / row_bytes / kRows + 1) * kRows;
    row[r] = work.rows + work.list[begin + r] * row_bytes;
    ahead[r] = work.rows + work.list[next < work.listed ? next : begin + r] * row_bytes;
  }
  DotOneToken<rows>(row, ahead, work.groups, work.line_step, work.codes, work.code_sum, work.out + begin);
}

}  // namespace

void DotRows(const RowDots& work) {
  if (work.tokens == 1) return DotRowsOneToken(work);
  for (int64_t t = 0; t < work.tokens;) {
    // Even tiles: 7 tokens are 4 + 3, not 6 + 1.
    const int64_t left = work.tokens - t;
    const int64_t tile = (left + (left + kTokens - 1) / kTokens - 1) / ((left + kTokens - 1) / kTokens);
    switch (tile) {
      case 1:
        DotRowsTokens<1>(work, t);
        break;
      case 2:
        DotRowsTokens<2>(work, t);
        break;
      case 3:
        DotRowsTokens<3>(work, t);
        break;
      case 4:
        DotRowsTokens<4>(work, t);
        break;
      case 5:
        DotRowsTokens<5>(work, t);
        break;
      default:
        DotRowsTokens<6>(work, t);
        break;
    }
    t += tile;
  }
}

void DotListedRows(const ListedRowDots& work) {
  int64_t i = 0;
  for (; i + kRows <= work.listed; i += kRows) DotListed<kRows>(work, i);
  switch (work.listed - i) {
    case 1:
      return DotListed<1>(work, i);
    case 2:
      return DotListed<2>(work, i);
    case 3:
      return DotListed<3>(work, i);
    default:
      return;
  }
}

}  // namespace ternion::cpu::TERNION_ISA

#endif  // __AVX512F__
