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

// Heads of `dim` channels from `column` on in rows of `stride`.
struct Heads {
  int64_t stride;
  int64_t column;
  int count;
  int dim;
};

std::vector<float> Rotated(std::vector<float> x, const Heads& heads, const std::vector<float>& table,
                           const std::vector<KvSlice>& slices) {
  for (const KvSlice& slice : slices) {
    for (int64_t t = 0; t < slice.rows; ++t) {
      for (int i = 0; i < heads.count * heads.dim; ++i) {
        if (i % heads.dim >= heads.dim / 2) continue;
        float& a = x[(slice.row_begin + t) * heads.stride + heads.column + i];
        float& b = (&a)[heads.dim / 2];
        const float* angle = &table[(slice.position + t) * heads.dim + i % heads.dim];
        const float left = a, right = b, cos = angle[0], sin = angle[heads.dim / 2];
        a = left * cos - right * sin;
        b = right * cos + left * sin;
      }
    }
  }
  return x;
}

TEST_P(RopeTest, RotatesTheHeadsOfTwoSequences) {
  constexpr int64_t kPositions = 60, kRows = 26;
  for (const Heads& heads : {Heads{100, 7, 4, 22}, Heads{360, 16, 5, 64}, Heads{3840, 0, 25, 128}}) {
    const std::vector<float> x = RandomFloats(kRows * heads.stride, 1), table = Angles(kPositions, heads.dim);
    // Row 3 and the rows from 24 on belong to nobody.
    const std::vector<KvSlice> slices = {{4, 20, 40, {}}, {0, 3, 5, {}}};
    DeviceMatrix<float> rotated(backend(), kRows, heads.stride, x);
    backend().Rope(rotated, heads.column, heads.count, heads.dim,
                   DeviceMatrix<float>(backend(), kPositions, heads.dim, table),
                   backend().UploadSlices(slices));
    EXPECT_TRUE(SameBits(rotated.Read(), Rotated(x, heads, table, slices))) << heads.dim;
  }
}

TEST_P(RopeTest, KeepsLengthsAndTurnsByPosition) {
  constexpr int kDim = 64;
  const std::vector<float> x = RandomFloats(kDim, 2), table = Angles(200, kDim);
  DeviceMatrix<float> rotated(backend(), 1, kDim, x), angles(backend(), 200, kDim, table);
  const std::vector<KvSlice> slices = {{0, 1, 199, {}}};
  backend().Rope(rotated, 0, 1, kDim, angles, backend().UploadSlices(slices));
  const std::vector<float> got = rotated.Read();
  for (int i = 0; i < kDim / 2; ++i) {
    EXPECT_NEAR(std::hypot(got[i], got[i + kDim / 2]), std::hypot(x[i], x[i + kDim / 2]), 1e-5);
  }
  EXPECT_GT(std::abs(got[0] - x[0]), 1e-3);
}

}  // namespace
}  // namespace ternion
