#include <cmath>
#include <cstring>

#include "kernels/cpu/float_kernels.h"
#include "tests/support/backends.h"

namespace ternion {
namespace {

uint32_t Bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}
float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

float ReferenceWiden(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const float sign = half >> 15 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                               : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25));
}

// Rounds |x| to a multiple of the half's unit at that size.
uint16_t ReferenceNarrow(float x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double size = std::abs(double{x});
  if (size < std::ldexp(1.0, -14)) return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(size, 24)));
  const int exponent = std::ilogb(size);
  const double mantissa = std::nearbyint(std::ldexp(size, 10 - exponent));  // 1024 to 2048
  const double code = (exponent + 15) * 1024 + (mantissa - 1024);           // a carry raises the exponent
  return sign | static_cast<uint16_t>(std::min(code, 31744.0));
}

std::vector<uint16_t> Narrow(cpu::Isa isa, const std::vector<float>& x) {
  std::vector<uint16_t> halves(x.size());
  cpu::KernelsFor(isa).half->narrow(x.data(), x.size(), halves.data());
  return halves;
}

TEST(Half, WidensEveryPattern) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> portable;
  for (cpu::Isa isa : RunnableIsas()) {
    std::vector<float> got(halves.size());
    cpu::KernelsFor(isa).half->widen(halves.data(), halves.size(), got.data());
    for (size_t i = 0; i < got.size(); ++i) {
      const float want = ReferenceWiden(halves[i]);
      ASSERT_TRUE(Bits(got[i]) == Bits(want) || (std::isnan(got[i]) && std::isnan(want))) << i;
    }
    if (isa == cpu::Isa::kPortable) portable = got;
    EXPECT_TRUE(SameBits(got, portable)) << cpu::IsaName(isa);
  }
}

TEST(Half, NarrowingUndoesWidening) {
  std::vector<float> x(65536);
  for (size_t i = 0; i < x.size(); ++i) x[i] = ReferenceWiden(static_cast<uint16_t>(i));
  for (cpu::Isa isa : RunnableIsas()) {
    const std::vector<uint16_t> halves = Narrow(isa, x);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_TRUE(std::isnan(x[i]) || halves[i] == i) << cpu::IsaName(isa) << " " << i;
    }
  }
}

TEST(Half, RoundsToTheNearestEven) {
  // Around every border: each half, the middle to the next, and the floats beside both; then floats of all
  // sizes.
  std::vector<float> x;
  for (uint32_t i = 0; i < 0x7c00; ++i) {
    const float here = ReferenceWiden(static_cast<uint16_t>(i)),
                next = i == 0x7bff ? 65536.0f : ReferenceWiden(i + 1);
    for (float value : {here, (here + next) / 2}) {
      for (float near : {std::nextafter(value, 0.0f), value, std::nextafter(value, 1e9f)}) {
        x.push_back(near);
        x.push_back(-near);
      }
    }
  }
  for (uint64_t i = 0; i < 0x7f800000; i += 9973) x.push_back(FromBits(static_cast<uint32_t>(i)));
  x.push_back(INFINITY);
  x.push_back(-INFINITY);
  for (cpu::Isa isa : RunnableIsas()) {
    const std::vector<uint16_t> got = Narrow(isa, x);
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(got[i], std::isinf(x[i]) ? (x[i] > 0 ? 0x7c00 : 0xfc00) : ReferenceNarrow(x[i])) << x[i];
  }
}

TEST(Half, NansStayNansWithTheSameBits) {
  std::vector<float> x;
  for (uint32_t i = 0x7f800001; i < 0x80000000; i += 4999) {
    x.push_back(FromBits(i));
    x.push_back(FromBits(i | 0x80000000));
  }
  const std::vector<uint16_t> portable = Narrow(cpu::Isa::kPortable, x);
  for (uint16_t half : portable) ASSERT_GT(half & 0x7fff, 0x7c00);
  for (cpu::Isa isa : RunnableIsas()) EXPECT_EQ(Narrow(isa, x), portable) << cpu::IsaName(isa);
}

}  // namespace
}  // namespace ternion
