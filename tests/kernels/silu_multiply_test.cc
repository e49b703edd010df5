#include <cmath>
#include <vector>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class SiluMultiplyTest : public BackendTest {
 protected:
  static std::vector<float> Multiply(Backend& on, int64_t rows, const std::vector<float>& gate,
                                     const std::vector<float>& up) {
    const int64_t n = static_cast<int64_t>(gate.size()) / rows;
    DeviceMatrix<float> y(on, rows, n);
    on.SiluMultiply(DeviceMatrix<float>(on, rows, n, gate), DeviceMatrix<float>(on, rows, n, up), y);
    return y.Read();
  }
};
INSTANTIATE_BACKEND_TEST(SiluMultiplyTest);

TEST_P(SiluMultiplyTest, IsSiluTimesUp) {
  for (int64_t rows : {1, 3}) {
    for (int64_t n : {1, 7, 64, 1001}) {
      const std::vector<float> gate = RandomFloats(rows * n, 1, 8), up = RandomFloats(rows * n, 2);
      const std::vector<float> y = Multiply(backend(), rows, gate, up);
      for (int64_t i = 0; i < rows * n; ++i) {
        const double want = double{gate[i]} / (1 + std::exp(-double{gate[i]})) * up[i];
        ASSERT_NEAR(y[i], want, 1e-6 * std::abs(want) + 1e-37) << "gate " << gate[i];
      }
      EXPECT_TRUE(SameBits(y, Multiply(reference(), rows, gate, up)));
    }
  }
}

TEST_P(SiluMultiplyTest, FarFromZero) {
  const std::vector<float> y = Multiply(backend(), 1, {100, -100, 3e38f, -3e38f, 0}, {2, 2, 0.5f, 2, 5});
  EXPECT_EQ(y[0], 200);
  EXPECT_NEAR(y[1], 0, 1e-35);
  EXPECT_EQ(y[2], 1.5e38f);
  EXPECT_NEAR(y[3], 0, 1e-35);
  EXPECT_EQ(y[4], 0);
}

TEST_P(SiluMultiplyTest, MayWriteOverTheGate) {
  const std::vector<float> gate = RandomFloats(3 * 70, 3), up = RandomFloats(3 * 70, 4);
  const DeviceMatrix<float> y(backend(), 3, 70, gate);
  backend().SiluMultiply(y, DeviceMatrix<float>(backend(), 3, 70, up), y);
  EXPECT_TRUE(SameBits(y.Read(), Multiply(backend(), 3, gate, up)));
}

}  // namespace
}  // namespace ternion
