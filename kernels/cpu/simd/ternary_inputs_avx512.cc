// kByInput, one token: a strip's 256 sums from the lines of the listed inputs alone, AVX-512 with VNNI.
//
// The 256 sums live in 16 registers for the whole list. Four lines (of four non-zero inputs) are transposed
// so that each 32-bit lane holds the four inputs of one byte position, and meet the four activation codes in
// every lane. vpdpbusd takes the byte under the nested masks 0x03, 0x0F, 0x3F and whole; the fields are the
// differences of these sums, shifted back: three ANDs for four fields. Per four lines: 8 shuffles, 12 ANDs,
// 16 vpdpbusd, 18 cycles where a 512-bit operation takes two of four pipes. Lines are fetched ahead by the
// list, as no stream predicts them.
#ifdef __AVX512F__

#include "kernels/cpu/simd/ternary_avx512.h"
#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

// About the memory's latency times one core's share of its rate. Scattered lines are fetched into L2: fetches
// into L1 are limited to a third of that rate by the number of misses it can have under way. A stream is left
// to the hardware's prefetchers, which the non-temporal hint starts early.
constexpr int64_t kAheadQuads = 24;

struct Columns {
  __m512i of[4];  // [4 columns][16 byte positions][4 inputs]
};

// Column q holds, in 128-bit lane l, the byte positions 16 l + 4 q and the next three.
inline __attribute__((always_inline)) Columns Transpose(const uint8_t* strip, const uint32_t* offsets) {
  const __m512i a = _mm512_loadu_si512(strip + offsets[0]);
  const __m512i b = _mm512_loadu_si512(strip + offsets[1]);
  const __m512i c = _mm512_loadu_si512(strip + offsets[2]);
  const __m512i d = _mm512_loadu_si512(strip + offsets[3]);
  const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
  return {{_mm512_unpacklo_epi16(ab_low, cd_low), _mm512_unpackhi_epi16(ab_low, cd_low),
           _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_unpackhi_epi16(ab_high, cd_high)}};
}

// sums[q][m] += column q under mask m, times the four codes.
inline __attribute__((always_inline)) void AddQuad(const Columns& columns, __m512i codes,
                                                   __m512i (*sums)[4]) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    const __m512i column = columns.of[q];
    AddDots(sums[q][0], _mm512_and_si512(column, _mm512_set1_epi8(0x03)), codes);
    AddDots(sums[q][1], _mm512_and_si512(column, _mm512_set1_epi8(0x0F)), codes);
    AddDots(sums[q][2], _mm512_and_si512(column, _mm512_set1_epi8(0x3F)), codes);
    AddDots(sums[q][3], column, codes);
  }
}

// Field f of the four columns, back in the order of outputs: [64].
inline __attribute__((always_inline)) void StoreField(const __m512i* field, __m512i code_sum, int64_t outputs,
                                                      int32_t* out) {
  // A 4 x 4 transpose of 128-bit blocks: block l of column q goes to place q of vector l.
  const __m512i a = _mm512_shuffle_i32x4(field[0], field[1], 0x44),
                b = _mm512_shuffle_i32x4(field[2], field[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(field[0], field[1], 0xEE),
                d = _mm512_shuffle_i32x4(field[2], field[3], 0xEE);
  const __m512i order[4] = {_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD),
                            _mm512_shuffle_i32x4(c, d, 0x88), _mm512_shuffle_i32x4(c, d, 0xDD)};
#pragma GCC unroll 4
  for (int l = 0; l < 4; ++l) {
    _mm512_mask_storeu_epi32(out + 16 * l, FirstLanes(outputs - 16 * l),
                             _mm512_sub_epi32(order[l], code_sum));
  }
}

// Quads [begin, end) of a list, and what is fetched meanwhile: for quad i the lines of quad i + shift of `from`.
struct Stretch {
  int64_t begin;
  int64_t end;
  const LineList& from;
  int64_t shift;
};

template <bool stream>
inline __attribute__((always_inline)) void AddStretch(const LineList& list, const Stretch& stretch,
                                                      __m512i (*sums)[4]) {
  constexpr uint32_t kNeighbours[4] = {0, 64, 128, 192};
  for (int64_t i = stretch.begin; i < stretch.end; ++i) {
    const int64_t ahead = 4 * (i + stretch.shift);  // line
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const int64_t offset = stream ? 64 * (ahead + k) : stretch.from.offsets[ahead + k];
      _mm_prefetch(reinterpret_cast<const char*>(stretch.from.strip + offset),
                   stream ? _MM_HINT_NTA : _MM_HINT_T1);
    }
    int32_t codes;
    __builtin_memcpy(&codes, list.values + 4 * i, 4);
    const Columns columns =
        stream ? Transpose(list.strip + 256 * i, kNeighbours) : Transpose(list.strip, list.offsets + 4 * i);
    AddQuad(columns, _mm512_set1_epi32(codes), sums);
  }
}

// While the last quads of the list are added, the first of the next are fetched.
template <bool stream>
inline __attribute__((always_inline)) void AddList(const LineList& list, const LineList& next,
                                                   __m512i (*sums)[4]) {
  const int64_t tail = list.quads > kAheadQuads ? list.quads - kAheadQuads : 0;
  const int64_t covered = tail + next.quads < list.quads ? tail + next.quads : list.quads;
  const Stretch stretches[3] = {
      {0, tail, list, kAheadQuads}, {tail, covered, next, -tail}, {covered, list.quads, list, 0}};
  for (const Stretch& stretch : stretches) AddStretch<stream>(list, stretch, sums);
}

}  // namespace

void DotListedInputs(const ListedInputDots& work) {
  __m512i sums[4][4];
#pragma GCC unroll 4
  for (auto& column : sums) {
#pragma GCC unroll 4
    for (auto& sum : column) sum = _mm512_setzero_si512();
  }
  work.list.offsets == nullptr ? AddList<true>(work.list, work.next, sums)
                               : AddList<false>(work.list, work.next, sums);
  const __m512i code_sum = _mm512_set1_epi32(work.code_sum);
#pragma GCC unroll 4
  for (int f = 0; f < 4; ++f) {
    __m512i field[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      const __m512i under = f == 0 ? _mm512_setzero_si512() : sums[q][f == 0 ? 0 : f - 1];
      field[q] = _mm512_srai_epi32(_mm512_sub_epi32(sums[q][f], under), 2 * f);
    }
    if (64 * f < work.outputs) StoreField(field, code_sum, work.outputs - 64 * f, work.out + 64 * f);
  }
}

int64_t ListInputs(const InputCodes& inputs, uint32_t* offsets, int8_t* values) {
  alignas(64) int32_t first[16];
  for (int64_t i = 0; i < 16; ++i) {
    first[i] = static_cast<int32_t>((inputs.first_line + i * inputs.line_step) % inputs.lines);
  }
  const __m512i n = _mm512_set1_epi32(static_cast<int>(inputs.lines));
  const __m512i step = _mm512_set1_epi32(static_cast<int>(16 * inputs.line_step % inputs.lines));
  __m512i lines = _mm512_load_si512(first);
  int64_t listed = 0;
  for (int64_t i = 0; i < inputs.n; i += 16) {
    const __m128i bytes = _mm_maskz_loadu_epi8(FirstLanes(inputs.n - i), inputs.codes + i);
    const __mmask16 used = _mm_test_epi8_mask(bytes, bytes);
    _mm512_storeu_si512(offsets + listed, _mm512_maskz_compress_epi32(used, _mm512_slli_epi32(lines, 6)));
    const __m512i code = _mm512_maskz_compress_epi32(used, _mm512_cvtepi8_epi32(bytes));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values + listed), _mm512_cvtepi32_epi8(code));
    listed += __builtin_popcount(used);
    lines = _mm512_add_epi32(lines, step);
    lines =
        _mm512_min_epu32(lines, _mm512_sub_epi32(lines, n));  // modulo n: the difference wraps while below
  }
  for (int k = 0; k < 4; ++k) {
    offsets[listed + k] = 0;
    values[listed + k] = 0;
  }
  return (listed + 3) / 4;
}

}  // namespace ternion::cpu::TERNION_ISA

#endif  // __AVX512F__
