#include <algorithm>
#include <cmath>
#include <functional>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class TopKTest : public BackendTest {
 protected:
  std::vector<float> Kth(const std::vector<float>& x, int64_t n, int64_t k) {
    const int64_t tokens = x.size() / n;
    DeviceMatrix<float> out(backend(), 1, tokens);
    backend().KthMagnitude(DeviceMatrix<float>(backend(), tokens, n, x), k, out);
    return out.Read();
  }
};
INSTANTIATE_BACKEND_TEST(TopKTest);

float SortedKth(std::vector<float> row, int64_t k) {
  for (float& value : row) value = std::abs(value);
  std::sort(row.begin(), row.end(), std::greater<float>());
  return row[k - 1];
}

void ExpectSorted(const std::vector<float>& got, const std::vector<float>& x, int64_t n, int64_t k) {
  for (size_t t = 0; t < got.size(); ++t) {
    ASSERT_EQ(got[t], SortedKth({x.begin() + t * n, x.begin() + (t + 1) * n}, k))
        << "row " << t << ", k " << k;
  }
}

TEST_P(TopKTest, IsTheSortedRowsKth) {
  for (int64_t n : {1, 3, 64, 1001, 20000, 40000}) {
    const std::vector<float> x = RandomFloats(9 * n, static_cast<uint32_t>(n));
    for (int64_t k : {int64_t{1}, (n + 1) / 2, n}) ExpectSorted(Kth(x, n, k), x, n, k);
  }
}

TEST_P(TopKTest, Ties) {
  // Many entries share a magnitude, its sign or its upper bits.
  std::vector<float> x(4 * 500);
  for (int64_t i = 0; i < 500; ++i) {
    x[i] = i % 2 == 0 ? 2.0f : -2.0f;
    x[500 + i] = 0;
    x[1000 + i] = std::nextafter(1.0f, 2.0f) * static_cast<float>(i % 3 - 1);
    x[1500 + i] = 1 + static_cast<float>(i * 7 % 500) * 1.1920929e-7f;
  }
  for (int64_t k = 1; k <= 500; k += 83) ExpectSorted(Kth(x, 500, k), x, 500, k);
}

TEST_P(TopKTest, ExtremeSizes) {
  std::vector<float> x = RandomFloats(300, 3);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(x[i], static_cast<int>(i % 250) - 140);
  x[0] = std::numeric_limits<float>::infinity();
  for (int64_t k : {1, 2, 100, 299, 300}) ExpectSorted(Kth(x, 300, k), x, 300, k);
}

TEST_P(TopKTest, ZeroesBelowTheThresholdAndKeepsTies) {
  constexpr int64_t kTokens = 50;
  for (int64_t width : {1003, 1024}) {
    const std::vector<float> x = RandomFloats(kTokens * width, 4);
    DeviceMatrix<float> rows(backend(), kTokens, width, x), threshold(backend(), 1, kTokens);
    backend().KthMagnitude(rows, 400, threshold);
    backend().ZeroBelow(threshold, rows);
    const std::vector<float> thresholds = threshold.Read(), got = rows.Read();
    std::vector<float> want = x;
    for (int64_t i = 0; i < kTokens * width; ++i) {
      if (std::abs(x[i]) < thresholds[i / width]) want[i] = 0;
    }
    EXPECT_TRUE(SameBits(got, want));
    for (int64_t t = 0; t < kTokens; ++t) {
      EXPECT_EQ(width - std::count(got.begin() + t * width, got.begin() + (t + 1) * width, 0.0f), 400);
    }
  }
}

}  // namespace
}  // namespace ternion
