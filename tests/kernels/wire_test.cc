#include <algorithm>
#include <cmath>

#include "tests/support/backends.h"

namespace ternion {
namespace {

struct Format {
  const char* name;
  int64_t group;
  int64_t (*row_bytes)(int64_t);
  void (Backend::*encode)(TensorView<const float>, TensorView<uint8_t>);
  void (Backend::*decode)(TensorView<const uint8_t>, bool, TensorView<float>);
};
const Format kFormats[] = {{"int8", 128, WireRowBytesInt8, &Backend::EncodeInt8, &Backend::DecodeInt8},
                           {"int4", 32, WireRowBytesInt4, &Backend::EncodeInt4, &Backend::DecodeInt4}};

class WireTest : public BackendTest {
 protected:
  static std::vector<uint8_t> Encode(Backend& on, const Format& format, const std::vector<float>& x,
                                     int64_t n) {
    const int64_t tokens = x.size() / n;
    DeviceMatrix<uint8_t> wire(on, tokens, format.row_bytes(n));
    (on.*format.encode)(DeviceMatrix<float>(on, tokens, n, x), wire);
    return wire.Read();
  }
  static std::vector<float> Decode(Backend& on, const Format& format, const std::vector<uint8_t>& wire,
                                   int64_t n, const std::vector<float>* added_to = nullptr) {
    const int64_t bytes = format.row_bytes(n), tokens = wire.size() / bytes;
    // Without adding, what is there must not matter.
    DeviceMatrix<float> x(on, tokens, n, added_to ? *added_to : std::vector<float>(tokens * n, NAN));
    (on.*format.decode)(DeviceMatrix<uint8_t>(on, tokens, bytes, wire), added_to != nullptr, x);
    return x.Read();
  }
  std::vector<float> ThereAndBack(const Format& format, const std::vector<float>& x, int64_t n) {
    return Decode(backend(), format, Encode(backend(), format, x, n), n);
  }
};
INSTANTIATE_BACKEND_TEST(WireTest);

// Sizes as un-normalized sums have them, and worse.
std::vector<float> MixedRows(int64_t tokens, int64_t n) {
  std::vector<float> x = RandomFloats(tokens * n, 1);
  const float sizes[] = {1, 1e-6f, 1e9f, 1e-20f, 1e30f, 1e-38f};
  for (int64_t i = 0; i < tokens * n; ++i) x[i] = x[i] * sizes[i / n % 6] + (i / n % 4 == 3 ? 5 : 0);
  return x;
}

TEST(WireRowBytes, CountHeadersAndCodes) {
  EXPECT_EQ(WireRowBytesInt8(512), 512 + 4 * 2);
  EXPECT_EQ(WireRowBytesInt8(130), 130 + 2 * 2);
  EXPECT_EQ(WireRowBytesInt4(512), 256 + 16 * 4);
  EXPECT_EQ(WireRowBytesInt4(35), 16 + 2 + 2 * 4);
}

TEST_P(WireTest, ErrorsStayUnderHalfAStep) {
  for (const Format& format : kFormats) {
    for (int64_t n : {512, 300, 35, 1, 161}) {
      const std::vector<float> x = MixedRows(24, n), y = ThereAndBack(format, x, n);
      for (int64_t i = 0; i < 24 * n; ++i) {
        const int64_t row = i / n * n, begin = row + (i - row) / format.group * format.group;
        const int64_t end = std::min(row + n, begin + format.group);
        const auto [low, high] = std::minmax_element(x.begin() + begin, x.begin() + end);
        const double most = std::max(std::abs(double{*low}), std::abs(double{*high}));
        // Half a step; a bf16 scale or minimum adds up to 2^-7 of itself; the sum rounds once.
        const double step = format.group == 128 ? most / 127 : (double{*high} - *low + most / 128) / 15;
        ASSERT_LE(std::abs(double{y[i]} - x[i]), 0.5 * step * (1 + 1.0 / 128) + most * 1e-6 + 1e-40)
            << format.name << " n " << n << " element " << i << ": " << x[i] << " became " << y[i];
      }
    }
  }
}

TEST_P(WireTest, ConstantsOfBf16AreExact) {
  for (const Format& format : kFormats) {
    std::vector<float> x(6 * 170);
    const float constants[] = {0, -0.0f, 1, -2.5f, 1e9f, 7e-7f};
    for (size_t i = 0; i < x.size(); ++i) x[i] = constants[i / 170];
    const std::vector<float> y = ThereAndBack(format, x, 170);
    for (size_t i = 0; i < 2 * 170; ++i) ASSERT_EQ(y[i], 0) << format.name;
    for (size_t i = 2 * 170; i < 4 * 170; ++i) {
      ASSERT_NEAR(y[i], x[i], format.group == 128 ? std::abs(x[i]) / 128 : 0) << format.name;
    }
    for (float value : y) ASSERT_TRUE(std::isfinite(value)) << format.name;
  }
}

TEST_P(WireTest, AddsWhatItDecodes) {
  for (const Format& format : kFormats) {
    const int64_t n = 300;
    const std::vector<float> x = MixedRows(24, n), before = RandomFloats(24 * n, 2);
    const std::vector<uint8_t> wire = Encode(backend(), format, x, n);
    std::vector<float> want = Decode(backend(), format, wire, n);
    for (size_t i = 0; i < want.size(); ++i) want[i] = before[i] + want[i];
    EXPECT_TRUE(SameBits(Decode(backend(), format, wire, n, &before), want)) << format.name;
  }
}

TEST_P(WireTest, SameBytesOnEveryBackend) {
  const std::unique_ptr<Backend> first = Backends().front().make();
  for (const Format& format : kFormats) {
    for (int64_t n : {1, 31, 300, 2560, 2561}) {
      std::vector<float> x = MixedRows(24, n);
      // A group of infinities alone has no step but NaN, whose sign is the machine's.
      if (n > 1) x[7 * n] = INFINITY, x[8 * n + n / 2] = -INFINITY;
      const std::vector<uint8_t> wire = Encode(backend(), format, x, n);
      EXPECT_EQ(wire, Encode(*first, format, x, n)) << format.name << " " << n;
      const std::vector<float> finite = MixedRows(24, n);
      const std::vector<uint8_t> sent = Encode(*first, format, finite, n);
      EXPECT_TRUE(SameBits(Decode(backend(), format, sent, n), Decode(*first, format, sent, n)));
    }
  }
}

TEST_P(WireTest, WhatIsNoNumberArrivesAsNone) {
  for (const Format& format : kFormats) {
    for (float nan : {NAN, -NAN}) {
      std::vector<float> x = RandomFloats(300, 3);
      x[40] = nan;
      const std::vector<float> y = ThereAndBack(format, x, 300);
      EXPECT_TRUE(std::isnan(y[40])) << format.name;
      EXPECT_TRUE(std::isfinite(y[299])) << format.name;  // another group's
    }
  }
}

TEST_P(WireTest, SameBytesForEveryRowAlone) {
  for (const Format& format : kFormats) {
    const int64_t n = 300, bytes = format.row_bytes(n);
    const std::vector<float> x = MixedRows(24, n);
    const std::vector<uint8_t> wire = Encode(backend(), format, x, n);
    for (int64_t t = 0; t < 24; ++t) {
      const std::vector<uint8_t> row =
          Encode(backend(), format, {x.begin() + t * n, x.begin() + (t + 1) * n}, n);
      ASSERT_EQ(row, std::vector<uint8_t>(wire.begin() + t * bytes, wire.begin() + (t + 1) * bytes))
          << format.name;
    }
  }
}

TEST_P(WireTest, Int8Layout) {
  // Scale 1 = 0x3f80, then the codes.
  EXPECT_EQ(Encode(backend(), kFormats[0], {127, -127, 0.5f, -1.5f}, 4),
            (std::vector<uint8_t>{0x80, 0x3f, 127, 129, 0, 254}));
}

TEST_P(WireTest, Int4Layout) {
  // Minimum -1 = 0xbf80, step 1 = 0x3f80, then channel i low and channel i + 3 high.
  EXPECT_EQ(Encode(backend(), kFormats[1], {-1, 0, 14, 2, 3}, 5),
            (std::vector<uint8_t>{0x80, 0xbf, 0x80, 0x3f, 0x30, 0x41, 0x0f}));
}

}  // namespace
}  // namespace ternion
