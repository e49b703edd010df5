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
      EXPECT_TRUE(std::all_of(content.begin(), content.end(), [](uint8_t byte) { return byte == 0; }));
      std::fill(content.begin(), content.end(), uint8_t{0xff});
      backend().CopyFromHost(buffer->data(), content.data(), bytes);
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

}  // namespace
}  // namespace ternion
