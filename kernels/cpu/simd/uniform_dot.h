#pragma once

#include "kernels/cpu/simd/vec.h"

#ifdef __AVX512F__
#include "kernels/cpu/simd/ternary_avx512.h"
#elif defined(__AVX2__)
#include <immintrin.h>
#endif

// Sums of products of a line's codes, which are unsigned bytes of at most 15, and an input's high or low bytes, which are at
// most 127 in magnitude: a lane is an output. Within a segment 16 bits hold them for two bytes of a quad: 32 channels of 4 bits or
// 64 of 3.
namespace ternion::cpu::TERNION_ISA {
namespace {

typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));

[[maybe_unused]] inline Words LoadLine(const uint8_t* line) {
  typedef uint32_t Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
  return *reinterpret_cast<const Unaligned*>(line);
}

// Bytes as numbers.
[[maybe_unused]] inline Vec LoadBytes(const uint8_t* p) {
#if defined(__AVX512F__)
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  Ints numbers;
  for (int i = 0; i < kLanes; ++i) numbers[i] = p[i];
  return __builtin_convertvector(numbers, Vec);
#endif
}

#if defined(__AVX512F__)

// A field stays where it is in its byte, so that its sum is 2^shift times as large; four such bytes fit 32 bits.
constexpr bool kFieldsStay = true;

struct Dots {
  __m512i sums = __m512i();

  inline __attribute__((always_inline)) void Add(Words codes, const int8_t* quad) {
    const __m512i bytes = reinterpret_cast<__m512i>(codes);
    // As AddDots; the instruction repeats the quad for every lane.
    asm("vpdpbusd %2%{1to16%}, %1, %0"
        : "+v"(sums)
        : "v"(bytes), "m"(*reinterpret_cast<const int32_t(*)>(quad)));
  }
  Ints Total() const { return reinterpret_cast<Ints>(sums); }
};

#else

constexpr bool kFieldsStay = false;

typedef int16_t Shorts __attribute__((vector_size(4 * kLanes)));

struct Dots {
  Shorts sums = Shorts();

#if defined(__AVX2__)
  void Add(Words codes, const int8_t* quad) {
    int32_t four = 0;
    __builtin_memcpy(&four, quad, sizeof(four));
    sums += reinterpret_cast<Shorts>(
        _mm256_maddubs_epi16(reinterpret_cast<__m256i>(codes), _mm256_set1_epi32(four)));
  }
#else
  void Add(Words codes, const int8_t* quad) {
    const auto pair = [](int8_t low, int8_t high) {
      return static_cast<uint32_t>(static_cast<uint16_t>(low)) |
             static_cast<uint32_t>(static_cast<uint16_t>(high)) << 16;
    };
    const Words even = Words() + pair(quad[0], quad[2]), odd = Words() + pair(quad[1], quad[3]);
    sums += reinterpret_cast<Shorts>(codes & 0x00ff00ffu) * reinterpret_cast<Shorts>(even) +
            reinterpret_cast<Shorts>(codes >> 8 & 0x00ff00ffu) * reinterpret_cast<Shorts>(odd);
  }
#endif
  Ints Total() const {
    return (reinterpret_cast<Ints>(reinterpret_cast<Words>(sums) << 16) >> 16) +
           (reinterpret_cast<Ints>(sums) >> 16);
  }
};

#endif

}  // namespace
}  // namespace ternion::cpu::TERNION_ISA
