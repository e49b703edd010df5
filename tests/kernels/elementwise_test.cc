#include <limits>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class ElementwiseTest : public BackendTest {};
INSTANTIATE_BACKEND_TEST(ElementwiseTest);

constexpr int64_t kTokens = 70, kWidth = 1003;

std::vector<int32_t> RandomInts(int64_t n, uint32_t seed, int32_t most) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int32_t> uniform(-most, most);
  std::vector<int32_t> values(n);
  for (int32_t& value : values) value = uniform(random);
  return values;
}

TEST_P(ElementwiseTest, Dequantize) {
  // Beyond 2^24 an integer is rounded to float once, before the product.
  const std::vector<int32_t> sums = RandomInts(kTokens * kWidth, 1, 1 << 30);
  const std::vector<float> rows = RandomFloats(kTokens, 2), columns = RandomFloats(kWidth, 3);
  DeviceMatrix<float> y(backend(), kTokens, kWidth);
  backend().Dequantize(DeviceMatrix<int32_t>(backend(), kTokens, kWidth, sums),
                       DeviceMatrix<float>(backend(), 1, kTokens, rows),
                       DeviceMatrix<float>(backend(), 1, kWidth, columns), y);
  std::vector<float> want;
  for (int64_t i = 0; i < kTokens * kWidth; ++i) {
    const float scale = rows[i / kWidth] * columns[i % kWidth];
    want.push_back(static_cast<float>(sums[i]) * scale);
  }
  EXPECT_TRUE(SameBits(y.Read(), want));
}

TEST_P(ElementwiseTest, Add) {
  const std::vector<float> x = RandomFloats(kTokens * kWidth, 4), y = RandomFloats(kTokens * kWidth, 5, 1e3f);
  DeviceMatrix<float> sum(backend(), kTokens, kWidth, x);
  backend().Add(DeviceMatrix<float>(backend(), kTokens, kWidth, y), sum);
  std::vector<float> want;
  for (size_t i = 0; i < x.size(); ++i) want.push_back(x[i] + y[i]);
  EXPECT_TRUE(SameBits(sum.Read(), want));
}

TEST_P(ElementwiseTest, AddInt32) {
  const std::vector<int32_t> x = RandomInts(kTokens * kWidth, 6, 1 << 29),
                             y = RandomInts(kTokens * kWidth, 7, 1 << 29);
  DeviceMatrix<int32_t> sum(backend(), kTokens, kWidth, x);
  backend().AddInt32(DeviceMatrix<int32_t>(backend(), kTokens, kWidth, y), sum);
  std::vector<int32_t> want;
  for (size_t i = 0; i < x.size(); ++i) want.push_back(x[i] + y[i]);
  EXPECT_EQ(sum.Read(), want);
}

TEST_P(ElementwiseTest, ScaleRows) {
  const std::vector<float> x = RandomFloats(kTokens * kWidth, 8), factor = RandomFloats(kTokens, 9);
  DeviceMatrix<float> y(backend(), kTokens, kWidth, x);
  backend().ScaleRows(DeviceMatrix<float>(backend(), 1, kTokens, factor), y);
  std::vector<float> want;
  for (int64_t i = 0; i < kTokens * kWidth; ++i) want.push_back(x[i] * factor[i / kWidth]);
  EXPECT_TRUE(SameBits(y.Read(), want));
}

TEST_P(ElementwiseTest, NoRows) {
  DeviceMatrix<float> x(backend(), 0, kWidth), y(backend(), 0, kWidth), factor(backend(), 1, 0);
  backend().Add(y, x);
  backend().ScaleRows(factor, x);
  backend().KthMagnitude(x, 3, factor);
  backend().Synchronize();
  EXPECT_TRUE(x.Read().empty());
}

}  // namespace
}  // namespace ternion
