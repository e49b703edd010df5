#include <algorithm>
#include <limits>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class ElementwiseTest : public BackendTest {};
INSTANTIATE_BACKEND_TEST(ElementwiseTest);

constexpr int64_t kTokens = 70;
// A multiple of no vector, and of all.
constexpr int64_t kWidths[] = {1003, 1024};

std::vector<int32_t> RandomInts(int64_t n, uint32_t seed, int32_t most) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int32_t> uniform(-most, most);
  std::vector<int32_t> values(n);
  for (int32_t& value : values) value = uniform(random);
  return values;
}

TEST_P(ElementwiseTest, Dequantize) {
  for (int64_t width : kWidths) {
    // Beyond 2^24 an integer is rounded to float once, before the product.
    const std::vector<int32_t> sums = RandomInts(kTokens * width, 1, 1 << 30);
    const std::vector<float> rows = RandomFloats(kTokens, 2), columns = RandomFloats(width, 3);
    DeviceMatrix<float> y(backend(), kTokens, width);
    backend().Dequantize(DeviceMatrix<int32_t>(backend(), kTokens, width, sums),
                         DeviceMatrix<float>(backend(), 1, kTokens, rows),
                         DeviceMatrix<float>(backend(), 1, width, columns), y);
    std::vector<float> want;
    for (int64_t i = 0; i < kTokens * width; ++i) {
      const float scale = rows[i / width] * columns[i % width];
      want.push_back(static_cast<float>(sums[i]) * scale);
    }
    EXPECT_TRUE(SameBits(y.Read(), want));
  }
}

TEST_P(ElementwiseTest, Add) {
  for (int64_t width : kWidths) {
    const std::vector<float> x = RandomFloats(kTokens * width, 4), y = RandomFloats(kTokens * width, 5, 1e3f);
    DeviceMatrix<float> sum(backend(), kTokens, width, x);
    backend().Add(DeviceMatrix<float>(backend(), kTokens, width, y), sum);
    std::vector<float> want;
    for (size_t i = 0; i < x.size(); ++i) want.push_back(x[i] + y[i]);
    EXPECT_TRUE(SameBits(sum.Read(), want));
  }
}

TEST_P(ElementwiseTest, Maximum) {
  for (int64_t width : kWidths) {
    const std::vector<float> x = RandomFloats(kTokens * width, 10), y = RandomFloats(kTokens * width, 11);
    DeviceMatrix<float> most(backend(), kTokens, width, x);
    backend().Maximum(DeviceMatrix<float>(backend(), kTokens, width, y), most);
    std::vector<float> want;
    for (size_t i = 0; i < x.size(); ++i) want.push_back(std::max(x[i], y[i]));
    EXPECT_TRUE(SameBits(most.Read(), want));
  }
}

TEST_P(ElementwiseTest, AddInt32) {
  for (int64_t width : kWidths) {
    const std::vector<int32_t> x = RandomInts(kTokens * width, 6, 1 << 29),
                               y = RandomInts(kTokens * width, 7, 1 << 29);
    DeviceMatrix<int32_t> sum(backend(), kTokens, width, x);
    backend().AddInt32(DeviceMatrix<int32_t>(backend(), kTokens, width, y), sum);
    std::vector<int32_t> want;
    for (size_t i = 0; i < x.size(); ++i) want.push_back(x[i] + y[i]);
    EXPECT_EQ(sum.Read(), want);
  }
}

TEST_P(ElementwiseTest, ScaleRows) {
  for (int64_t width : kWidths) {
    const std::vector<float> x = RandomFloats(kTokens * width, 8), factor = RandomFloats(kTokens, 9);
    DeviceMatrix<float> y(backend(), kTokens, width, x);
    backend().ScaleRows(DeviceMatrix<float>(backend(), 1, kTokens, factor), y);
    std::vector<float> want;
    for (int64_t i = 0; i < kTokens * width; ++i) want.push_back(x[i] * factor[i / width]);
    EXPECT_TRUE(SameBits(y.Read(), want));
  }
}

TEST_P(ElementwiseTest, NoRows) {
  DeviceMatrix<float> x(backend(), 0, 1003), y(backend(), 0, 1003), factor(backend(), 1, 0);
  backend().Add(y, x);
  backend().Maximum(y, x);
  backend().ScaleRows(factor, x);
  backend().KthMagnitude(x, 3, factor);
  backend().Synchronize();
  EXPECT_TRUE(x.Read().empty());
}

}  // namespace
}  // namespace ternion
