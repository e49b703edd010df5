#include <cmath>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class RmsNormTest : public BackendTest {};
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
    ExpectClose(out.Read(), want, tolerance());
  }
}

std::vector<float> ReferenceNorm(const std::vector<float>& x, const std::vector<float>& sums, int64_t width,
                                 float eps, const std::vector<float>& weight) {
  const size_t n = weight.size(), tokens = x.size() / n, segments = sums.size() / tokens;
  std::vector<float> y;
  for (size_t t = 0; t < tokens; ++t) {
    float sum = 0;
    for (size_t s = 0; s < segments; ++s) sum += sums[t * segments + s];
    const float root = std::sqrt(sum / static_cast<float>(width) + eps);
    for (size_t i = 0; i < n; ++i) y.push_back(x[t * n + i] / root * weight[i]);
  }
  return y;
}

TEST_P(RmsNormTest, NormalizesAShardOfARow) {
  constexpr int64_t kShard = 352;  // a third of the row; the sums are those of the whole row
  const std::vector<float> x = RandomFloats(kTokens * kShard, 2), weight = RandomFloats(kShard, 3);
  std::vector<float> sums = RandomFloats(kTokens * 33, 4, 40);
  for (float& sum : sums) sum = std::abs(sum);
  DeviceMatrix<float> y(backend(), kTokens, kShard);
  backend().RmsNorm(DeviceMatrix<float>(backend(), kTokens, kShard, x),
                    DeviceMatrix<float>(backend(), kTokens, 33, sums), kWidth, 1e-5f,
                    DeviceMatrix<float>(backend(), 1, kShard, weight), y);
  ExpectClose(y.Read(), ReferenceNorm(x, sums, kWidth, 1e-5f, weight), tolerance());
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
  std::vector<float> want_total(kTokens), want_inverse;
  for (size_t i = 0; i < sums.size(); ++i) want_total[i / 33] += sums[i];
  for (float sum : want_total)
    want_inverse.push_back(1 / std::sqrt(sum / static_cast<float>(kWidth) + 1e-6f));
  ExpectClose(total.Read(), want_total, tolerance());
  ExpectClose(inverse.Read(), want_inverse, tolerance());
}

TEST_P(RmsNormTest, ScalesColumns) {
  const std::vector<float> x = RandomFloats(kTokens * kWidth, 7), weight = RandomFloats(kWidth, 8);
  DeviceMatrix<float> y(backend(), kTokens, kWidth);
  backend().ScaleColumns(DeviceMatrix<float>(backend(), kTokens, kWidth, x),
                         DeviceMatrix<float>(backend(), 1, kWidth, weight), y);
  std::vector<float> want;
  for (size_t i = 0; i < x.size(); ++i) want.push_back(x[i] * weight[i % kWidth]);
  EXPECT_TRUE(SameBits(y.Read(), want));
}

}  // namespace
}  // namespace ternion
