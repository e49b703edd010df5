#include <cmath>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class RmsNormTest : public BackendTest {
 protected:
  // The sum of each row of sums [any, segments].
  std::vector<float> Totals(const std::vector<float>& sums, int64_t segments) const {
    std::vector<float> total;
    for (auto row = sums.begin(); row != sums.end(); row += segments) {
      total.push_back(SumOfSegments({row, row + segments}));
    }
    return total;
  }
};
INSTANTIATE_BACKEND_TEST(RmsNormTest);

constexpr int64_t kTokens = 70, kWidth = 1056;

TEST_P(RmsNormTest, SumSquaresBySegments) {
  const std::vector<float> x = RandomFloats(kTokens * kWidth, 1, 3);
  for (int segment : {1, 2, 4, 8, 16, 32}) {
    DeviceMatrix<float> out(backend(), kTokens, kWidth / segment);
    backend().SumSquares(DeviceMatrix<float>(backend(), kTokens, kWidth, x), segment, out);
    std::vector<float> want;
    for (size_t begin = 0; begin < x.size(); begin += segment) {
      std::vector<float> squares(x.begin() + begin, x.begin() + begin + segment);
      for (float& value : squares) value *= value;
      want.push_back(HalvingSum(squares));
    }
    EXPECT_TRUE(SameBits(out.Read(), want)) << segment;
  }
}

// `total`: the sum of each row's segments.
std::vector<float> ReferenceNorm(const std::vector<float>& x, const std::vector<float>& total, int64_t width,
                                 float eps, const std::vector<float>& weight) {
  const size_t n = weight.size();
  std::vector<float> y;
  for (size_t t = 0; t < total.size(); ++t) {
    const float sum = total[t];
    const float root = std::sqrt(sum / static_cast<float>(width) + eps);
    for (size_t i = 0; i < n; ++i) y.push_back(x[t * n + i] / root * weight[i]);
  }
  return y;
}

TEST_P(RmsNormTest, NormalizesAShardOfARow) {
  constexpr int64_t kSegments = 97;  // of the whole row
  std::vector<float> sums = RandomFloats(kTokens * kSegments, 4, 40);
  for (float& sum : sums) sum = std::abs(sum);
  const std::vector<float> total = Totals(sums, kSegments);
  for (int64_t shard : {352, 333, 8192}) {
    const std::vector<float> x = RandomFloats(kTokens * shard, 2), weight = RandomFloats(shard, 3);
    const DeviceMatrix<float> rows(backend(), kTokens, shard, x), y(backend(), kTokens, shard);
    const DeviceMatrix<float> all(backend(), kTokens, kSegments, sums), by(backend(), 1, shard, weight);
    backend().RmsNorm(rows, all, kWidth, 1e-5f, by, y);
    const std::vector<float> want = ReferenceNorm(x, total, kWidth, 1e-5f, weight);
    EXPECT_TRUE(SameBits(y.Read(), want)) << shard;
    backend().RmsNorm(rows, all, kWidth, 1e-5f, by, rows);
    EXPECT_TRUE(SameBits(rows.Read(), want)) << shard << " in place";
  }
}

TEST_P(RmsNormTest, WholeRowsHaveUnitMeanSquare) {
  std::vector<float> x = RandomFloats(3 * kWidth, 5, 100);
  std::fill(x.begin(), x.begin() + kWidth, 0.0f);  // a row of zeros stays zero
  DeviceMatrix<float> rows(backend(), 3, kWidth, x), sums(backend(), 3, kWidth / 32), y(backend(), 3, kWidth);
  backend().SumSquares(rows, 32, sums);
  backend().RmsNorm(rows, sums, kWidth, 1e-5f,
                    DeviceMatrix<float>(backend(), 1, kWidth, std::vector<float>(kWidth, 1)), y);
  const std::vector<float> got = y.Read();
  for (int64_t t = 0; t < 3; ++t) {
    double mean = 0;
    for (int64_t i = 0; i < kWidth; ++i) mean += double{got[t * kWidth + i]} * got[t * kWidth + i] / kWidth;
    EXPECT_NEAR(mean, t == 0 ? 0.0 : 1.0, 1e-5);
  }
}

TEST_P(RmsNormTest, InverseRmsOfRowSums) {
  std::vector<float> sums = RandomFloats(kTokens * 33, 6, 40);
  for (float& sum : sums) sum = std::abs(sum);
  DeviceMatrix<float> total(backend(), 1, kTokens), inverse(backend(), 1, kTokens);
  backend().RowSums(DeviceMatrix<float>(backend(), kTokens, 33, sums), total);
  backend().InverseRms(total, kWidth, 1e-6f, inverse);
  const std::vector<float> want_total = Totals(sums, 33);
  std::vector<float> want_inverse;
  for (float sum : want_total)
    want_inverse.push_back(1 / std::sqrt(sum / static_cast<float>(kWidth) + 1e-6f));
  EXPECT_TRUE(SameBits(total.Read(), want_total));
  EXPECT_TRUE(SameBits(inverse.Read(), want_inverse));
}

TEST_P(RmsNormTest, ScalesColumns) {
  for (int64_t width : {1056, 333}) {
    const std::vector<float> x = RandomFloats(kTokens * width, 7), weight = RandomFloats(width, 8);
    DeviceMatrix<float> y(backend(), kTokens, width);
    backend().ScaleColumns(DeviceMatrix<float>(backend(), kTokens, width, x),
                           DeviceMatrix<float>(backend(), 1, width, weight), y);
    std::vector<float> want;
    for (size_t i = 0; i < x.size(); ++i) want.push_back(x[i] * weight[i % width]);
    EXPECT_TRUE(SameBits(y.Read(), want)) << width;
  }
}

}  // namespace
}  // namespace ternion
