#pragma once

#include <stdint.h>

#if defined(__F16C__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

// Vectors of the width that the instruction set has, as GCC's vector type: +, -, * and / round lane by lane
// as the scalar operators do.
namespace ternion::cpu::TERNION_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float UnalignedVec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));

[[maybe_unused]] inline Vec Load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
[[maybe_unused]] inline void Store(Vec v, float* p) { *reinterpret_cast<UnalignedVec*>(p) = v; }

// Widens bfloat16 exactly.
[[maybe_unused]] inline Vec LoadBf16(const uint16_t* p) {
  const Words wide = __builtin_convertvector(*reinterpret_cast<const Halves*>(p), Words);
  return reinterpret_cast<Vec>(wide << 16);
}

// Widens IEEE half exactly.
[[maybe_unused]] inline Vec LoadF16(const uint16_t* p) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  const Words wide = __builtin_convertvector(*reinterpret_cast<const Halves*>(p), Words);
  const Words magnitude = (wide & 0x7fffu) << 13;
  // The exponent counts from -15 there and from -127 here; subnormal halves are subnormal floats until then.
  const Words number = reinterpret_cast<Words>(reinterpret_cast<Vec>(magnitude) * 5.19229686e33f);
  const Words bits = magnitude >= 0xf800000u ? magnitude | 0x7f800000u : number;
  return reinterpret_cast<Vec>(bits | (wide & 0x8000u) << 16);
#endif
}

// Sixteen numbers in registers.
constexpr int kVecsOf16 = 16 / kLanes;
struct Sixteen {
  Vec part[kVecsOf16];
};

// v with lane i + `by` in lane i; what comes from beyond the end does not matter.
template <int kBy>
[[maybe_unused]] inline Vec Down(Vec v) {
  Words from;
  for (int i = 0; i < kLanes; ++i) from[i] = static_cast<uint32_t>(i + kBy) % kLanes;
  return __builtin_shuffle(v, from);
}

// The tree that halves: x[i] + x[i + 8], then + 4, + 2, + 1.
[[maybe_unused]] inline float TreeSum(const Sixteen& x) {
  Vec v[kVecsOf16];
  for (int i = 0; i < kVecsOf16; ++i) v[i] = x.part[i];
  for (int half = kVecsOf16 / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v[i] += v[i + half];
  }
  Vec sum = v[0];
  if constexpr (kLanes > 8) sum += Down<8>(sum);
  if constexpr (kLanes > 4) sum += Down<4>(sum);
  sum += Down<2>(sum);
  sum += Down<1>(sum);
  return sum[0];
}

}  // namespace
}  // namespace ternion::cpu::TERNION_ISA
