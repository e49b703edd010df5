#include <gtest/gtest.h>

#include "parallel/tensor_parallel.h"

namespace ternion {
namespace {

TEST(WireFormat, NamesAreReadBack) {
  for (const WireFormat format : {WireFormat::kExact, WireFormat::kInt8, WireFormat::kInt4}) {
    const auto parsed = ParseWireFormat(WireFormatName(format));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, format);
  }
}

TEST(WireFormat, AnUnknownNameIsRefusedWithTheKnownOnes) {
  const absl::Status status = ParseWireFormat("fp8").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "unknown wire format \"fp8\"; it is one of exact, int8, int4");
}

TEST(WireFormat, RowBytes) {
  EXPECT_EQ(WireRowBytes(WireFormat::kExact, 512), 2048);
  EXPECT_EQ(WireRowBytes(WireFormat::kInt8, 512), 4 * (2 + 128));
  EXPECT_EQ(WireRowBytes(WireFormat::kInt4, 512), 16 * (4 + 16));
}

}  // namespace
}  // namespace ternion
