#include "launcher/resources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace ternion {
namespace {

using testing::HasSubstr;

TEST(Resources, TooFewOpenFilesAreRefusedWithTheNumberThatWouldDo) {
  EXPECT_TRUE(CheckFileLimit(kLeastFiles).ok());
  const absl::Status few = CheckFileLimit(kLeastFiles - 1);
  EXPECT_EQ(few.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(few.message()), HasSubstr(std::to_string(kLeastFiles - 1) + " files (ulimit -n)"));
  EXPECT_THAT(std::string(few.message()), HasSubstr(std::to_string(kLeastFiles)));
}

TEST(Resources, AFullSharedMemoryIsRefusedWhereRanksUseIt) {
  constexpr int64_t kMiB = 1 << 20;
  EXPECT_TRUE(CheckSharedMemory(16 * kMiB, 4).ok());
  EXPECT_TRUE(CheckSharedMemory(0, 1).ok());
  const absl::Status full = CheckSharedMemory(16 * kMiB - 1, 4);
  EXPECT_EQ(full.code(), absl::StatusCode::kInvalidArgument);
  for (const char* part : {"/dev/shm has 16777215 bytes free", "4 ranks", "16777216", "--shm-size"}) {
    EXPECT_THAT(std::string(full.message()), HasSubstr(part));
  }
}

}  // namespace
}  // namespace ternion
