#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class QuantizeTest : public BackendTest {
 protected:
  // Codes of rows of `n` channels by QuantizeInt8 with the absmax of each row.
  std::pair<std::vector<int8_t>, std::vector<float>> Int8(const std::vector<float>& x, int64_t n,
                                                          float floor) {
    const int64_t tokens = x.size() / n;
    DeviceMatrix<float> rows(backend(), tokens, n, x), absmax(backend(), 1, tokens),
        scales(backend(), 1, tokens);
    DeviceMatrix<int8_t> codes(backend(), tokens, n);
    backend().RowAbsMax(rows, absmax);
    backend().QuantizeInt8(rows, absmax, floor, {codes, scales});
    return {codes.Read(), scales.Read()};
  }
  std::pair<std::vector<int8_t>, std::vector<float>> Int4(const std::vector<float>& x, int64_t n) {
    const int64_t tokens = x.size() / n;
    DeviceMatrix<float> rows(backend(), tokens, n, x), scales(backend(), 1, tokens);
    DeviceMatrix<int8_t> codes(backend(), tokens, n);
    backend().QuantizeInt4(rows, {codes, scales});
    return {codes.Read(), scales.Read()};
  }
};
INSTANTIATE_BACKEND_TEST(QuantizeTest);

int8_t Code(float x, float factor, float low, float high) {
  return static_cast<int8_t>(std::clamp(std::nearbyint(x * factor), low, high));
}

// Rows of very different sizes.
std::vector<float> MixedRows(int64_t tokens, int64_t n) {
  std::vector<float> x = RandomFloats(tokens * n, 1);
  const float sizes[] = {1, 1e-6f, 1e9f, 3e37f, 0, 1e-30f, 1e-41f};
  for (int64_t i = 0; i < tokens * n; ++i) x[i] *= sizes[i / n % 7];
  return x;
}

// Less than a vector, less than a block, a multiple of no vector, more than a block.
constexpr int64_t kWidths[] = {5, 64, 1003, 9216};

TEST_P(QuantizeTest, AbsMax) {
  constexpr int64_t kTokens = 40;
  for (int64_t width : kWidths) {
    const std::vector<float> x = MixedRows(kTokens, width);
    DeviceMatrix<float> out(backend(), 1, kTokens);
    backend().RowAbsMax(DeviceMatrix<float>(backend(), kTokens, width, x), out);
    std::vector<float> want(kTokens);
    for (size_t i = 0; i < x.size(); ++i) want[i / width] = std::max(want[i / width], std::abs(x[i]));
    EXPECT_TRUE(SameBits(out.Read(), want)) << width;
  }
}

TEST_P(QuantizeTest, Int8FollowsTheFormula) {
  constexpr int64_t kTokens = 40;
  for (int64_t width : kWidths) {
    const std::vector<float> x = MixedRows(kTokens, width);
    const auto [codes, scales] = Int8(x, width, 1e-5f);
    for (int64_t t = 0; t < kTokens; ++t) {
      float a = 1e-5f;
      for (int64_t i = 0; i < width; ++i) a = std::max(a, std::abs(x[t * width + i]));
      ASSERT_EQ(scales[t], a / 127.0f);
      for (int64_t i = t * width; i < (t + 1) * width; ++i)
        ASSERT_EQ(codes[i], Code(x[i], 127.0f / a, -128, 127));
    }
  }
}

TEST_P(QuantizeTest, Int8RoundsHalvesToEven) {
  const auto [codes, scales] = Int8({127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -0.0f, 126.5f}, 9, 1e-5f);
  EXPECT_EQ(codes, (std::vector<int8_t>{127, 0, 2, 2, 0, -2, -2, 0, 126}));
  EXPECT_EQ(scales, std::vector<float>{1});
}

TEST_P(QuantizeTest, Int8ClipsToAGivenAbsMax) {
  DeviceMatrix<float> x(backend(), 1, 4, {1000, -1000, 1, -1}), absmax(backend(), 1, 1, {127}),
      scale(backend(), 1, 1);
  DeviceMatrix<int8_t> codes(backend(), 1, 4);
  backend().QuantizeInt8(x, absmax, 1e-5f, {codes, scale});
  EXPECT_EQ(codes.Read(), (std::vector<int8_t>{127, -128, 1, -1}));
}

TEST_P(QuantizeTest, WhatIsNoNumberHasACode) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  DeviceMatrix<float> x(backend(), 1, 4, {nan, infinity, -infinity, 0}), absmax(backend(), 1, 1, {127});
  DeviceMatrix<float> scale(backend(), 1, 1);
  DeviceMatrix<int8_t> codes(backend(), 1, 4);
  backend().QuantizeInt8(x, absmax, 1e-5f, {codes, scale});
  EXPECT_EQ(codes.Read(), (std::vector<int8_t>{0, 127, -128, 0}));
}

TEST_P(QuantizeTest, Int4FollowsTheFormula) {
  constexpr int64_t kTokens = 40, kWidth = 1056;
  const std::vector<float> x = MixedRows(kTokens, kWidth);
  const auto [codes, scales] = Int4(x, kWidth);
  const float root7 = std::sqrt(7.0f);
  for (int64_t t = 0; t < kTokens; ++t) {
    std::vector<float> sums;
    for (int64_t s = 0; s < kWidth; s += 32) {
      std::vector<float> segment(x.begin() + t * kWidth + s, x.begin() + t * kWidth + s + 32);
      for (float& value : segment) value = std::abs(value);
      sums.push_back(HalvingSum(segment));
    }
    const float a = std::max(SumOfSegments(sums) / static_cast<float>(kWidth), 1e-5f);
    ASSERT_EQ(scales[t], a / root7);
    for (int64_t i = t * kWidth; i < (t + 1) * kWidth; ++i) ASSERT_EQ(codes[i], Code(x[i], root7 / a, -8, 7));
  }
}

TEST_P(QuantizeTest, ARowDoesNotDependOnItsCompany) {
  constexpr int64_t kTokens = 40, kWidth = 1056;
  const std::vector<float> x = MixedRows(kTokens, kWidth);
  const auto [all, scales] = Int4(x, kWidth);
  for (int64_t t = 0; t < kTokens; ++t) {
    const auto [codes, scale] = Int4({x.begin() + t * kWidth, x.begin() + (t + 1) * kWidth}, kWidth);
    ASSERT_EQ(codes, std::vector<int8_t>(all.begin() + t * kWidth, all.begin() + (t + 1) * kWidth));
    ASSERT_EQ(scale[0], scales[t]);
  }
}

TEST_P(QuantizeTest, PacksTwoCodesAByte) {
  constexpr int64_t kTokens = 37;
  for (int64_t width : {1002, 1024}) {
    std::vector<int8_t> codes(kTokens * width);
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<int8_t>((i * 7 + i / 16) % 16) - 8;
    DeviceMatrix<uint8_t> packed(backend(), kTokens, width / 2);
    DeviceMatrix<int8_t> unpacked(backend(), kTokens, width);
    backend().PackInt4(DeviceMatrix<int8_t>(backend(), kTokens, width, codes), packed);
    backend().UnpackInt4(packed, unpacked);
    std::vector<uint8_t> want;
    for (size_t i = 0; i < codes.size(); i += 2) want.push_back((codes[i] & 15) | (codes[i + 1] & 15) << 4);
    EXPECT_EQ(packed.Read(), want);
    EXPECT_EQ(unpacked.Read(), codes);
  }
}

}  // namespace
}  // namespace ternion
