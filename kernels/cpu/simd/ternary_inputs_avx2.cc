// kByInput, one token: a strip's 256 sums from the lines of the listed inputs alone, AVX2 without VNNI.
//
// Half a strip (128 outputs) at a time: its 8 registers of 16-bit sums stay put for 64 pairs of inputs. Two
// half lines are interleaved so that each 16-bit lane holds both inputs of one output byte, and vpmaddubsw
// adds the pair.
#if defined(__AVX2__) && !defined(__AVX512F__)

#include <immintrin.h>

#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

constexpr int64_t kSafePairs = 64;
constexpr int64_t kAheadPairs = 48;

__m256i Load(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }

// sums[f][0] and [f][1] += the pair's low and high interleaved bytes, field f, times the two values.
void AddPair(const uint8_t* a, const uint8_t* b, const int8_t* values, __m256i (*sums)[2]) {
  int16_t pair;
  __builtin_memcpy(&pair, values, 2);
  const __m256i value = _mm256_set1_epi16(pair);
  const __m256i first = Load(a), second = Load(b);
  const __m256i mixed[2] = {_mm256_unpacklo_epi8(first, second), _mm256_unpackhi_epi8(first, second)};
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 4
    for (int f = 0; f < 4; ++f) {
      const __m256i weights = _mm256_and_si256(_mm256_srli_epi16(mixed[h], 2 * f), _mm256_set1_epi8(3));
      sums[f][h] = _mm256_add_epi16(sums[f][h], _mm256_maddubs_epi16(weights, value));
    }
  }
}

void AddWide(__m128i part, int32_t* out) {
  const __m256i sum = _mm256_add_epi32(Load(out), _mm256_cvtepi16_epi32(part));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), sum);
}

// Adds 16-bit sums to out [4 fields, 64], of which half `half` belongs to them. The interleave left bytes 0-7
// and 16-23 of the half line in the low vector, 8-15 and 24-31 in the high one.
void Widen(const __m256i (*sums)[2], int64_t half, int32_t* out) {
#pragma GCC unroll 8
  for (int f = 0; f < 4; ++f) {
    int32_t* at = out + 64 * f + 32 * half;
    AddWide(_mm256_castsi256_si128(sums[f][0]), at);
    AddWide(_mm256_castsi256_si128(sums[f][1]), at + 8);
    AddWide(_mm256_extracti128_si256(sums[f][0], 1), at + 16);
    AddWide(_mm256_extracti128_si256(sums[f][1], 1), at + 24);
  }
}

const uint8_t* Line(const LineList& list, int64_t i) {
  return list.strip + (list.offsets == nullptr ? 64 * i : list.offsets[i]);
}

// Fetches the pair that comes kAheadPairs after pair p of the list, or of the next one where the list ends.
// Always inlined: GCC takes a function that only prefetches for one without effect and drops its calls.
inline __attribute__((always_inline)) void FetchAhead(const LineList& list, const LineList& next, int64_t p) {
  const int64_t ahead = p + kAheadPairs, then = ahead - 2 * list.quads;
  if (then >= 2 * next.quads) return;
  const LineList& from = then < 0 ? list : next;
  const int64_t pair = then < 0 ? ahead : then;
  _mm_prefetch(Line(from, 2 * pair), _MM_HINT_T1);
  _mm_prefetch(Line(from, 2 * pair + 1), _MM_HINT_T1);
}

void AddPairs(const LineList& list, const LineList& next, int64_t begin, int64_t end, int64_t half,
              int32_t* out) {
  __m256i sums[4][2];
#pragma GCC unroll 4
  for (auto& field : sums) field[0] = field[1] = _mm256_setzero_si256();
  for (int64_t p = begin; p < end; ++p) {
    if (half == 0) FetchAhead(list, next, p);
    AddPair(Line(list, 2 * p) + 32 * half, Line(list, 2 * p + 1) + 32 * half, list.values + 2 * p, sums);
  }
  Widen(sums, half, out);
}

}  // namespace

void DotListedInputs(const ListedInputDots& work) {
  alignas(32) int32_t sums[256] = {};
  for (int64_t p = 0; p < 2 * work.list.quads; p += kSafePairs) {
    const int64_t end = p + kSafePairs < 2 * work.list.quads ? p + kSafePairs : 2 * work.list.quads;
    for (int64_t half = 0; half < 2; ++half) AddPairs(work.list, work.next, p, end, half, sums);
  }
  for (int64_t o = 0; o < work.outputs; ++o) work.out[o] = sums[o] - work.code_sum;
}

}  // namespace ternion::cpu::TERNION_ISA

#endif
