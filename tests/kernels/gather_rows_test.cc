#include "tests/support/backends.h"

namespace ternion {
namespace {

class GatherRowsTest : public BackendTest {};
INSTANTIATE_BACKEND_TEST(GatherRowsTest);

// A multiple of no vector, of some and of all.
constexpr int64_t kWidths[] = {33, 523, 526, 2560};

// Rows of x [any, width], one behind the other.
template <typename T>
std::vector<T> Rows(const std::vector<T>& x, int64_t width, const std::vector<int32_t>& rows) {
  std::vector<T> picked;
  for (int32_t row : rows)
    picked.insert(picked.end(), x.begin() + row * width, x.begin() + (row + 1) * width);
  return picked;
}

TEST_P(GatherRowsTest, WidensTheRowsAskedFor) {
  constexpr int64_t kWords = 50;
  const std::vector<int32_t> rows = {49, 0, 7, 7, 12, 0};
  for (int64_t width : kWidths) {
    const std::vector<BFloat16> table = RandomBf16(kWords * width, 1);
    DeviceMatrix<float> out(backend(), rows.size(), width);
    backend().GatherRows(DeviceMatrix<BFloat16>(backend(), kWords, width, table), rows, {}, out);
    std::vector<float> want;
    for (BFloat16 value : Rows(table, width, rows)) want.push_back(Widen(value));
    EXPECT_TRUE(SameBits(out.Read(), want)) << width;
  }
}

// Ids that an earlier operation left on the device.
TEST_P(GatherRowsTest, TakesRowsThatWereDrawn) {
  constexpr int64_t kWords = 50;
  const DeviceMatrix<int32_t> drawn(backend(), 1, 3, {17, 0, 49});
  for (int64_t width : kWidths) {
    const std::vector<BFloat16> table = RandomBf16(kWords * width, 6);
    DeviceMatrix<float> out(backend(), 5, width);
    backend().GatherRows(DeviceMatrix<BFloat16>(backend(), kWords, width, table), {~2, 3, ~0, ~1, ~2}, drawn,
                         out);
    std::vector<float> want;
    for (BFloat16 value : Rows(table, width, {49, 3, 17, 0, 49})) want.push_back(Widen(value));
    EXPECT_TRUE(SameBits(out.Read(), want)) << width;
  }
}

TEST_P(GatherRowsTest, PicksTableRows) {
  constexpr int64_t kWords = 50;
  const std::vector<int32_t> rows = {49, 0, 7, 7, 12, 0};
  for (int64_t width : kWidths) {
    const std::vector<BFloat16> table = RandomBf16(kWords * width, 3);
    DeviceMatrix<BFloat16> out(backend(), rows.size(), width);
    backend().PickRows(DeviceMatrix<BFloat16>(backend(), kWords, width, table), rows, out);
    EXPECT_TRUE(SameBits(out.Read(), Rows(table, width, rows))) << width;
  }
}

TEST_P(GatherRowsTest, CopiesColumnsAndLeavesTheOthers) {
  constexpr int64_t kRows = 7;
  struct Place {
    int64_t column, width;
  };
  for (const Place& place : {Place{0, 37}, Place{3, 64}, Place{8, 64}, Place{64, 256}, Place{5, 0}}) {
    const int64_t to_width = place.column + place.width + 4;
    const std::vector<float> from = RandomFloats(kRows * place.width, 4),
                             to = RandomFloats(kRows * to_width, 5);
    const DeviceMatrix<float> out(backend(), kRows, to_width, to);
    backend().CopyColumns(DeviceMatrix<float>(backend(), kRows, place.width, from), place.column, out);
    std::vector<float> want = to;
    for (int64_t i = 0; i < kRows * place.width; ++i) {
      want[i / place.width * to_width + place.column + i % place.width] = from[i];
    }
    EXPECT_TRUE(SameBits(out.Read(), want)) << place.column << " " << place.width;
  }
}

TEST_P(GatherRowsTest, EveryBf16) {
  std::vector<BFloat16> table(65536);
  std::vector<float> want;
  for (uint32_t i = 0; i < 65536; ++i) {
    table[i].bits = static_cast<uint16_t>(i);
    want.push_back(Widen(table[i]));
  }
  DeviceMatrix<float> out(backend(), 2, 32768);
  backend().GatherRows(DeviceMatrix<BFloat16>(backend(), 2, 32768, table), {0, 1}, {}, out);
  EXPECT_TRUE(SameBits(out.Read(), want));
}

TEST_P(GatherRowsTest, SelectsFloatRows) {
  const std::vector<int32_t> rows = {19, 3, 3, 0};
  for (int64_t width : kWidths) {
    const std::vector<float> x = RandomFloats(20 * width, 2);
    DeviceMatrix<float> out(backend(), rows.size(), width);
    backend().SelectRows(DeviceMatrix<float>(backend(), 20, width, x), rows, out);
    EXPECT_TRUE(SameBits(out.Read(), Rows(x, width, rows))) << width;
  }
}

TEST_P(GatherRowsTest, NoRows) {
  DeviceMatrix<float> out(backend(), 0, 32);
  backend().GatherRows(DeviceMatrix<BFloat16>(backend(), 4, 32), {}, {}, out);
  backend().SelectRows(DeviceMatrix<float>(backend(), 4, 32), {}, out);
  backend().Synchronize();
}

}  // namespace
}  // namespace ternion
