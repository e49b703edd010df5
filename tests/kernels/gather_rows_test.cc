#include "tests/support/backends.h"

namespace ternion {
namespace {

class GatherRowsTest : public BackendTest {};
INSTANTIATE_BACKEND_TEST(GatherRowsTest);

TEST_P(GatherRowsTest, WidensTheRowsAskedFor) {
  constexpr int64_t kWords = 50, kHidden = 523;  // not a multiple of any vector
  const std::vector<BFloat16> table = RandomBf16(kWords * kHidden, 1);
  const std::vector<int32_t> rows = {49, 0, 7, 7, 12, 0};
  DeviceMatrix<float> out(backend(), rows.size(), kHidden);
  backend().GatherRows(DeviceMatrix<BFloat16>(backend(), kWords, kHidden, table), rows, out);
  std::vector<float> want;
  for (int32_t row : rows) {
    for (int64_t i = 0; i < kHidden; ++i) want.push_back(Widen(table[row * kHidden + i]));
  }
  EXPECT_TRUE(SameBits(out.Read(), want));
}

TEST_P(GatherRowsTest, EveryBf16) {
  std::vector<BFloat16> table(65536);
  std::vector<float> want;
  for (uint32_t i = 0; i < 65536; ++i) {
    table[i].bits = static_cast<uint16_t>(i);
    want.push_back(Widen(table[i]));
  }
  DeviceMatrix<float> out(backend(), 2, 32768);
  backend().GatherRows(DeviceMatrix<BFloat16>(backend(), 2, 32768, table), {0, 1}, out);
  EXPECT_TRUE(SameBits(out.Read(), want));
}

TEST_P(GatherRowsTest, SelectsFloatRows) {
  const std::vector<float> x = RandomFloats(20 * 33, 2);
  const std::vector<int32_t> rows = {19, 3, 3, 0};
  DeviceMatrix<float> out(backend(), rows.size(), 33);
  backend().SelectRows(DeviceMatrix<float>(backend(), 20, 33, x), rows, out);
  std::vector<float> want;
  for (int32_t row : rows) want.insert(want.end(), x.begin() + row * 33, x.begin() + (row + 1) * 33);
  EXPECT_TRUE(SameBits(out.Read(), want));
}

}  // namespace
}  // namespace ternion
