// kByOutput: dot products of packed rows, AVX2 without VNNI.
//
// vpmaddubsw multiplies unsigned codes (0 to 2) with activations and adds pairs: within 512, so 64 of them
// fit 16-bit sums before they are widened. Fields are shifted down first (a shifted code would not fit). A
// tile is 4 rows x 1 token or 2 rows x up to 3 tokens; 16 registers hold no more.
#if defined(__AVX2__) && !defined(__AVX512F__)

#include <immintrin.h>

#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

constexpr int64_t kSafeGroups = 8;  // two halves of four fields each: 64 sums
constexpr int64_t kAheadBytes = 8192;

__m256i Load(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }

__m256i Field(__m256i half, int f) {
  return _mm256_and_si256(_mm256_srli_epi16(half, 2 * f), _mm256_set1_epi8(3));
}

__m256i Widen(__m256i sums) { return _mm256_madd_epi16(sums, _mm256_set1_epi16(1)); }

int32_t SumLanes(__m256i sums) {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1)));
}

// sums[t][r] += row r . codes of token t over at most kSafeGroups lines, in 16-bit lanes.
template <int rows, int tokens>
void AddGroups(const uint8_t* const* row, const uint8_t* const* ahead, int64_t begin, int64_t end,
               const int8_t* codes, int64_t code_stride, __m256i (*sums)[rows]) {
  for (int64_t half = 2 * begin; half < 2 * end; ++half) {
    const int64_t code = half / 2 * 256 + half % 2 * 32;
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) _mm_prefetch(ahead[r] + half * 32, _MM_HINT_T1);
#pragma GCC unroll 4
    for (int f = 0; f < 4; ++f) {
      __m256i weights[rows];
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) weights[r] = Field(Load(row[r] + half * 32), f);
#pragma GCC unroll 4
      for (int t = 0; t < tokens; ++t) {
        const __m256i value = Load(codes + t * code_stride + code + 64 * f);
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          sums[t][r] = _mm256_add_epi16(sums[t][r], _mm256_maddubs_epi16(weights[r], value));
        }
      }
    }
  }
}

template <int rows, int tokens>
void DotTile(const uint8_t* const* row, const uint8_t* const* ahead, int64_t groups, const int8_t* codes,
             const int32_t* code_sums, int32_t* out, int64_t out_stride) {
  __m256i wide[tokens][rows];
#pragma GCC unroll 8
  for (auto& token : wide) {
#pragma GCC unroll 8
    for (auto& sum : token) sum = _mm256_setzero_si256();
  }
  for (int64_t g = 0; g < groups; g += kSafeGroups) {
    __m256i sums[tokens][rows];
#pragma GCC unroll 8
    for (auto& token : sums) {
#pragma GCC unroll 8
      for (auto& sum : token) sum = _mm256_setzero_si256();
    }
    const int64_t end = g + kSafeGroups < groups ? g + kSafeGroups : groups;
    AddGroups<rows, tokens>(row, ahead, g, end, codes, groups * 256, sums);
#pragma GCC unroll 8
    for (int t = 0; t < tokens; ++t) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) wide[t][r] = _mm256_add_epi32(wide[t][r], Widen(sums[t][r]));
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < tokens; ++t) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) out[t * out_stride + r] = SumLanes(wide[t][r]) - code_sums[t];
  }
}

template <int rows, int tokens>
int64_t DotRowTiles(const RowDots& work, int64_t token, int64_t begin) {
  const int64_t row_bytes = work.groups * 64;
  int64_t r = begin;
  for (; r + rows <= work.row_count; r += rows) {
    const uint8_t* row[rows];
    const uint8_t* ahead[rows];
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      row[i] = work.rows + (r + i) * row_bytes;
      ahead[i] = row[i] + kAheadBytes;
    }
    DotTile<rows, tokens>(row, ahead, work.groups, work.codes + token * row_bytes * 4, work.code_sums + token,
                          work.out + token * work.out_stride + r, work.out_stride);
  }
  return r;
}

template <int rows, int tokens>
void DotRowsTokens(const RowDots& work, int64_t token) {
  const int64_t done = DotRowTiles<rows, tokens>(work, token, 0);
  DotRowTiles<1, tokens>(work, token, done);
}

template <int rows>
int64_t DotListed(const ListedRowDots& work, int64_t begin) {
  const int64_t row_bytes = work.groups * 64;
  int64_t i = begin;
  for (; i + rows <= work.listed; i += rows) {
    const uint8_t* row[rows];
    const uint8_t* ahead[rows];
#pragma GCC unroll 8
    for (int k = 0; k < rows; ++k) {
      const int64_t next = i + k + (kAheadBytes / row_bytes / rows + 1) * rows;
      row[k] = work.rows + work.list[i + k] * row_bytes;
      ahead[k] = work.rows + work.list[next < work.listed ? next : i + k] * row_bytes;
    }
    DotTile<rows, 1>(row, ahead, work.groups, work.codes, &work.code_sum, work.out + i, 0);
  }
  return i;
}

}  // namespace

void DotRows(const RowDots& work) {
  int64_t t = 0;
  if (work.tokens > 1) {
    for (; t + 3 <= work.tokens; t += 3) DotRowsTokens<2, 3>(work, t);
    if (t + 2 <= work.tokens) {
      DotRowsTokens<2, 2>(work, t);
      t += 2;
    }
  }
  if (t < work.tokens) DotRowsTokens<4, 1>(work, t);
}

void DotListedRows(const ListedRowDots& work) {
  const int64_t done = DotListed<4>(work, 0);
  DotListed<1>(work, done);
}

}  // namespace ternion::cpu::TERNION_ISA

#endif
