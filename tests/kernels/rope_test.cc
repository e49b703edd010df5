#include <cmath>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class RopeTest : public BackendTest {};
INSTANTIATE_BACKEND_TEST(RopeTest);

// [positions, dim]: cosines, then sines.
std::vector<float> Angles(int64_t positions, int dim) {
  std::vector<float> table(positions * dim);
  for (int64_t p = 0; p < positions; ++p) {
    for (int i = 0; i < dim / 2; ++i) {
      const double angle = static_cast<double>(p) * std::pow(1e4, -2.0 * i / dim);
      table[p * dim + i] = static_cast<float>(std::cos(angle));
      table[p * dim + dim / 2 + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

TEST_P(RopeTest, RotatesTheHeadsOfTwoSequences) {
  constexpr int64_t kStride = 100, kColumn = 7, kPositions = 60, kRows = 25;
  constexpr int kHeads = 4, kDim = 22;
  const std::vector<float> x = RandomFloats(kRows * kStride, 1), table = Angles(kPositions, kDim);
  // Row 3 and the rows from 24 on belong to nobody.
  const std::vector<KvSlice> slices = {{4, 20, 40, {}}, {0, 3, 5, {}}};
  DeviceMatrix<float> rotated(backend(), kRows, kStride, x);
  backend().Rope(rotated, kColumn, kHeads, kDim, DeviceMatrix<float>(backend(), kPositions, kDim, table),
                 slices);
  std::vector<float> want = x;
  for (const KvSlice& slice : slices) {
    for (int64_t t = 0; t < slice.rows; ++t) {
      for (int i = 0; i < kHeads * kDim; ++i) {
        if (i % kDim >= kDim / 2) continue;
        float& a = want[(slice.row_begin + t) * kStride + kColumn + i];
        float& b = (&a)[kDim / 2];
        const float* angle = &table[(slice.position + t) * kDim + i % kDim];
        const float left = a, right = b, cos = angle[0], sin = angle[kDim / 2];
        a = left * cos - right * sin;
        b = right * cos + left * sin;
      }
    }
  }
  ExpectClose(rotated.Read(), want, tolerance());
}

TEST_P(RopeTest, KeepsLengthsAndTurnsByPosition) {
  constexpr int kDim = 64;
  const std::vector<float> x = RandomFloats(kDim, 2), table = Angles(200, kDim);
  DeviceMatrix<float> rotated(backend(), 1, kDim, x), angles(backend(), 200, kDim, table);
  backend().Rope(rotated, 0, 1, kDim, angles, {{0, 1, 199, {}}});
  const std::vector<float> got = rotated.Read();
  for (int i = 0; i < kDim / 2; ++i) {
    EXPECT_NEAR(std::hypot(got[i], got[i + kDim / 2]), std::hypot(x[i], x[i + kDim / 2]), 1e-5);
  }
  EXPECT_GT(std::abs(got[0] - x[0]), 1e-3);
}

}  // namespace
}  // namespace ternion
