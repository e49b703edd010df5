// Encoding and decoding of float rows for the wire; the formats stand in kernels/backend.h, the bytes in
// cpu/wire_int8.cc and cpu/wire_int4.cc.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/round.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

bool IsFinite(uint32_t bits) { return (bits & 0x7f800000u) != 0x7f800000u; }
// The upper half of a float's bits: the bfloat16 towards zero, and the next one away from it unless it is
// exact.
uint16_t Towards(uint32_t bits) { return static_cast<uint16_t>(bits >> 16); }
uint16_t Away(uint32_t bits) { return static_cast<uint16_t>((bits + 0xffffu) >> 16); }
// Infinity stays, and so does NaN, whose upper half alone could be infinity's.
uint16_t NotFinite(uint32_t bits) {
  return static_cast<uint16_t>(bits >> 16 | ((bits & 0xffffu) != 0 ? 0x40u : 0u));
}

// The largest bfloat16 that is not above x.
uint16_t RoundDown(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  if (!IsFinite(bits)) return NotFinite(bits);
  return bits >> 31 != 0 ? Away(bits) : Towards(bits);
}

// The least bfloat16 that is not below x.
uint16_t RoundUp(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  if (!IsFinite(bits)) return NotFinite(bits);
  return bits >> 31 != 0 ? Towards(bits) : Away(bits);
}

float Widen(uint16_t bf16) { return __builtin_bit_cast(float, static_cast<uint32_t>(bf16) << 16); }

void StoreBf16(uint16_t bf16, uint8_t* wire) { __builtin_memcpy(wire, &bf16, sizeof(bf16)); }

float LoadBf16(const uint8_t* wire) {
  uint16_t bf16;
  __builtin_memcpy(&bf16, wire, sizeof(bf16));
  return Widen(bf16);
}

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// Integers that are ordered as the floats are, so that minima and maxima vectorize. Its own inverse.
int32_t Ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
float FromOrdered(int32_t order) { return __builtin_bit_cast(float, Ordered(order)); }

// Groups are inlined with a constant n where they are full.
[[gnu::always_inline]] inline void EncodeInt8Group(const float* __restrict x, int64_t n,
                                                   uint8_t* __restrict wire) {
  int32_t most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t magnitude = __builtin_bit_cast(int32_t, x[i]) & 0x7fffffff;
    most = magnitude > most ? magnitude : most;
  }
  const uint16_t scale_bits = RoundUp(__builtin_bit_cast(float, most) / 127.0f);
  const float scale = Widen(scale_bits);
  StoreBf16(scale_bits, wire);
  for (int64_t i = 0; i < n; ++i) wire[2 + i] = static_cast<uint8_t>(ClippedRint(x[i] / scale, -127, 127));
}

void EncodeInt8(const float* x, int64_t n, uint8_t* wire) {
  int64_t i = 0;
  for (; i + kInt8Group <= n; i += kInt8Group, wire += 2 + kInt8Group)
    EncodeInt8Group(x + i, kInt8Group, wire);
  if (i < n) EncodeInt8Group(x + i, n - i, wire);
}

template <bool kAdd>
void DecodeInt8Row(const uint8_t* __restrict wire, int64_t n, float* __restrict x) {
  for (int64_t begin = 0; begin < n; begin += kInt8Group, wire += 2 + kInt8Group) {
    const float scale = LoadBf16(wire);
    const int64_t size = Least(kInt8Group, n - begin);
    for (int64_t i = 0; i < size; ++i) {
      const float value = static_cast<float>(static_cast<int8_t>(wire[2 + i])) * scale;
      x[begin + i] = kAdd ? x[begin + i] + value : value;
    }
  }
}

void DecodeInt8(const uint8_t* wire, bool add, int64_t n, float* x) {
  add ? DecodeInt8Row<true>(wire, n, x) : DecodeInt8Row<false>(wire, n, x);
}

[[gnu::always_inline]] inline void EncodeInt4Group(const float* __restrict x, int64_t n,
                                                   uint8_t* __restrict wire) {
  int32_t low = 0x7fffffff, high = -0x7fffffff - 1;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t order = Ordered(__builtin_bit_cast(int32_t, x[i]));
    low = order < low ? order : low;
    high = order > high ? order : high;
  }
  const uint16_t minimum_bits = RoundDown(FromOrdered(low));
  const float minimum = Widen(minimum_bits);
  const uint16_t step_bits = RoundUp((FromOrdered(high) - minimum) / 15.0f);
  const float step = Widen(step_bits);
  StoreBf16(minimum_bits, wire);
  StoreBf16(step_bits, wire + 2);
  uint8_t codes[kInt4Group] = {};
  for (int64_t i = 0; i < n; ++i)
    codes[i] = static_cast<uint8_t>(ClippedRint((x[i] - minimum) / step, 0, 15));
  const int64_t bytes = (n + 1) / 2;
  for (int64_t i = 0; i < bytes; ++i) {
    wire[4 + i] = static_cast<uint8_t>(codes[i] | (i + bytes < n ? codes[i + bytes] << 4 : 0));
  }
}

void EncodeInt4(const float* x, int64_t n, uint8_t* wire) {
  int64_t i = 0;
  for (; i + kInt4Group <= n; i += kInt4Group, wire += 4 + kInt4Group / 2)
    EncodeInt4Group(x + i, kInt4Group, wire);
  if (i < n) EncodeInt4Group(x + i, n - i, wire);
}

template <bool kAdd>
inline void DecodeInt4Group(const uint8_t* __restrict wire, int64_t n, float* __restrict x) {
  const float minimum = LoadBf16(wire), step = LoadBf16(wire + 2);
  const int64_t bytes = (n + 1) / 2;
  for (int64_t i = 0; i < bytes; ++i) {
    const float value = minimum + static_cast<float>(wire[4 + i] & 15) * step;
    x[i] = kAdd ? x[i] + value : value;
  }
  for (int64_t i = bytes; i < n; ++i) {
    const float value = minimum + static_cast<float>(wire[4 + i - bytes] >> 4) * step;
    x[i] = kAdd ? x[i] + value : value;
  }
}

template <bool kAdd>
void DecodeInt4Row(const uint8_t* wire, int64_t n, float* x) {
  int64_t i = 0;
  for (; i + kInt4Group <= n; i += kInt4Group, wire += 4 + kInt4Group / 2) {
    DecodeInt4Group<kAdd>(wire, kInt4Group, x + i);
  }
  if (i < n) DecodeInt4Group<kAdd>(wire, n - i, x + i);
}

void DecodeInt4(const uint8_t* wire, bool add, int64_t n, float* x) {
  add ? DecodeInt4Row<true>(wire, n, x) : DecodeInt4Row<false>(wire, n, x);
}

}  // namespace

const WireKernels kWireKernels = {EncodeInt8, EncodeInt4, DecodeInt8, DecodeInt4};

}  // namespace ternion::cpu::TERNION_ISA
