#include <algorithm>
#include <limits>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class MemoryTest : public BackendTest {};
INSTANTIATE_BACKEND_TEST(MemoryTest);

TEST_P(MemoryTest, IsAlignedAndZeroed) {
  // Twice, so that the second comes from what the first gave back.
  for (int round = 0; round < 2; ++round) {
    for (size_t bytes : {size_t{1}, size_t{100}, size_t{4096}, size_t{5} << 20}) {
      auto buffer = backend().Allocate(bytes);
      ASSERT_TRUE(buffer.ok()) << buffer.status();
      EXPECT_EQ(buffer->bytes(), bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 256, 0u);
      std::vector<uint8_t> content(bytes, 1);
      backend().CopyToHost(content.data(), buffer->data(), bytes);
      backend().Synchronize();
      EXPECT_TRUE(std::all_of(content.begin(), content.end(), [](uint8_t byte) { return byte == 0; }));
      std::fill(content.begin(), content.end(), uint8_t{0xff});
      backend().CopyFromHost(buffer->data(), content.data(), bytes);
      backend().Synchronize();
    }
  }
}

TEST_P(MemoryTest, NothingIsAnEmptyBuffer) {
  auto buffer = backend().Allocate(0);
  ASSERT_TRUE(buffer.ok());
  EXPECT_TRUE(buffer->empty());
}

TEST_P(MemoryTest, RefusesWhatNoMachineHas) {
  for (size_t bytes : {size_t{1} << 50, std::numeric_limits<size_t>::max()}) {
    const auto buffer = backend().Allocate(bytes);
    ASSERT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_NE(buffer.status().message().find(std::to_string(bytes)), std::string::npos) << buffer.status();
  }
}

TEST_P(MemoryTest, CopiesThereAndBack) {
  const std::vector<float> values = RandomFloats(1000, 1);
  EXPECT_TRUE(SameBits(DeviceMatrix<float>(backend(), 10, 100, values).Read(), values));
}

TEST_P(MemoryTest, CopiesOnTheDevice) {
  const std::vector<float> values = RandomFloats(1000, 2);
  const DeviceMatrix<float> from(backend(), 1, 1000, values), to(backend(), 1, 1000);
  backend().Copy(to.view().data(), from.view().data() + 3, 990 * sizeof(float));
  backend().Copy(to.view().data(), to.view().data(), 990 * sizeof(float));
  backend().Copy(to.view().data(), from.view().data(), 0);
  std::vector<float> want(values.begin() + 3, values.begin() + 993);
  want.resize(1000);
  EXPECT_TRUE(SameBits(to.Read(), want));
}

TEST_P(MemoryTest, ReplaysWhatItRanWithWhatIsThereNow) {
  constexpr int64_t kRows = 5, kWidth = 96;
  const DeviceMatrix<float> x(backend(), kRows, kWidth), y(backend(), kRows, kWidth),
      most(backend(), 1, kRows);
  const auto run = [&] {
    backend().Add(y, x);
    backend().RowAbsMax(x, most);
    backend().ScaleRows(most, x);
    backend().Copy(y.view().data(), x.view().data(), kWidth * sizeof(float));
    return absl::OkStatus();
  };
  for (uint32_t round = 0; round < 5; ++round) {
    const std::vector<float> left = RandomFloats(kRows * kWidth, 2 * round),
                             right = RandomFloats(kRows * kWidth, 2 * round + 1);
    x.Write(left);
    y.Write(right);
    ASSERT_TRUE(run().ok());
    const std::vector<float> want = x.Read(), want_copy = y.Read();

    x.Write(left);
    y.Write(right);
    bool ran = false;
    const absl::StatusOr<bool> replayed = backend().Replay(7, [&] {
      ran = true;
      return run();
    });
    ASSERT_TRUE(replayed.ok()) << replayed.status();
    EXPECT_EQ(*replayed, ran);
    EXPECT_TRUE(ran || round > 0);
    ASSERT_TRUE(SameBits(x.Read(), want)) << "round " << round;
    ASSERT_TRUE(SameBits(y.Read(), want_copy)) << "round " << round;
  }
}

TEST_P(MemoryTest, ReplayPassesOnWhatFails) {
  const DeviceMatrix<float> x(backend(), 1, 64, std::vector<float>(64, 1));
  for (int round = 0; round < 3; ++round) {
    const auto replayed = backend().Replay(9, [&] {
      backend().Add(x, x);
      return absl::UnavailableError("a peer is gone");
    });
    EXPECT_EQ(replayed.status().code(), absl::StatusCode::kUnavailable);
  }
  x.Write(std::vector<float>(64, 1));
  backend().Add(x, x);
  EXPECT_EQ(x.Read(), std::vector<float>(64, 2));
}

}  // namespace
}  // namespace ternion
