#include <gtest/gtest.h>

#include <string>

#include "kernels/backend.h"

namespace ternion {
namespace {

// The test that shows whether the others ran on a device: they have no case for CUDA without one.
TEST(Cuda, DeviceSaysWhatDoesNotFit) {
  const auto backend = MakeCudaBackend(0);
  if (!backend.ok()) GTEST_SKIP() << backend.status();
  constexpr size_t kAbsurd = size_t{1} << 50;
  const auto buffer = (*backend)->Allocate(kAbsurd);
  ASSERT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
  const std::string message(buffer.status().message());
  for (const std::string& part :
       {std::to_string(kAbsurd), std::string("CUDA device 0"), std::string("are free")}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  // The failure is forgotten: what fits still does.
  EXPECT_TRUE((*backend)->Allocate(1000).ok());
}

TEST(Cuda, NoSuchDevice) {
  for (int device : {-1, 1000}) {
    EXPECT_EQ(MakeCudaBackend(device).status().code(), absl::StatusCode::kUnavailable);
  }
}

}  // namespace
}  // namespace ternion
