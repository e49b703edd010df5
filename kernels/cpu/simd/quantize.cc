// Codes of one row, its statistics, and the selection of its largest entries. Everything lies in cache.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/round.h"
#include "kernels/cpu/simd/vec.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

int32_t Magnitude(float x) { return __builtin_bit_cast(int32_t, x) & 0x7fffffff; }

float AbsMax(const float* x, int64_t n) {
  // Magnitudes are ordered as their bits, and a maximum of integers vectorizes.
  int32_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = Magnitude(x[i]) > most ? Magnitude(x[i]) : most;
  return __builtin_bit_cast(float, most);
}

Vec Absolute(Vec x) { return reinterpret_cast<Vec>(reinterpret_cast<Words>(x) & 0x7fffffffu); }

float AbsSum(const float* x, int64_t n) {
  float total = 0;
  for (int64_t begin = 0; begin < n; begin += 32) {
    Sixteen sum;
    for (int i = 0; i < kVecsOf16; ++i) {
      sum.part[i] = Absolute(Load(x + begin + i * kLanes)) + Absolute(Load(x + begin + 16 + i * kLanes));
    }
    total += TreeSum(sum);
  }
  return total;
}

void QuantizeInt8(const float* __restrict x, float factor, int64_t n, int8_t* __restrict codes) {
  for (int64_t i = 0; i < n; ++i) codes[i] = static_cast<int8_t>(ClippedRint(x[i] * factor, -128, 127));
}

void QuantizeInt4(const float* __restrict x, float factor, int64_t n, int8_t* __restrict codes) {
  for (int64_t i = 0; i < n; ++i) codes[i] = static_cast<int8_t>(ClippedRint(x[i] * factor, -8, 7));
}

// Integers that are ordered as the floats are, so that minima and maxima vectorize. Its own inverse.
int32_t Ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

void Range(const float* x, int64_t n, float* minimum, float* maximum) {
  int32_t low = 0x7fffffff, high = -0x7fffffff - 1;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t order = Ordered(__builtin_bit_cast(int32_t, x[i] == x[i] ? x[i] : 0.0f));
    low = order < low ? order : low;
    high = order > high ? order : high;
  }
  *minimum = __builtin_bit_cast(float, Ordered(low));
  *maximum = __builtin_bit_cast(float, Ordered(high));
}

void Quantize(const float* __restrict x, float minimum, float factor, int low, int high, int64_t n,
              int8_t* __restrict codes) {
  const float least = static_cast<float>(low), most = static_cast<float>(high);
  for (int64_t i = 0; i < n; ++i) {
    codes[i] = static_cast<int8_t>(ClippedRint((x[i] - minimum) * factor, least, most));
  }
}

void PackInt4(const int8_t* __restrict codes, int64_t bytes, uint8_t* __restrict packed) {
  for (int64_t i = 0; i < bytes; ++i) {
    packed[i] = static_cast<uint8_t>((codes[2 * i] & 15) | (codes[2 * i + 1] << 4));
  }
}

void UnpackInt4(const uint8_t* __restrict packed, int64_t bytes, int8_t* __restrict codes) {
  for (int64_t i = 0; i < bytes; ++i) {
    codes[2 * i] = static_cast<int8_t>(((packed[i] & 15) ^ 8) - 8);
    codes[2 * i + 1] = static_cast<int8_t>(static_cast<int8_t>(packed[i]) >> 4);
  }
}

void HighHalves(const float* __restrict x, int64_t n, int16_t* __restrict halves) {
  for (int64_t i = 0; i < n; ++i) halves[i] = static_cast<int16_t>(Magnitude(x[i]) >> 16);
}

int64_t CountAtLeast(const int16_t* halves, int16_t bound, int64_t n) {
  constexpr int64_t kChunk = 16384;  // a count of 16 bits, so that lanes stay narrow
  int64_t total = 0;
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = begin + kChunk < n ? begin + kChunk : n;
    int16_t count = 0;
    for (int64_t i = begin; i < end; ++i) count = static_cast<int16_t>(count + (halves[i] >= bound ? 1 : 0));
    total += count;
  }
  return total;
}

void ZeroBelow(float threshold, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = __builtin_fabsf(x[i]) < threshold ? 0.0f : x[i];
}

}  // namespace

const QuantizeKernels kQuantizeKernels = {AbsMax,     AbsSum,       QuantizeInt8, QuantizeInt4,
                                          Range,      Quantize,     PackInt4,     UnpackInt4,
                                          HighHalves, CountAtLeast, ZeroBelow};

}  // namespace ternion::cpu::TERNION_ISA
