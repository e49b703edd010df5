#include "kernels/delayed_reads.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tests/support/backends.h"

namespace ternion {
namespace {

using DelayedReadsTest = BackendTest;

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// Each holds what was there when it was started, whatever was written since, and however many are on their way.
TEST_P(DelayedReadsTest, GiveWhatWasThereOldestFirst) {
  const std::unique_ptr<DelayedReads> reads = MakeDelayedReads(backend());
  const DeviceMatrix<float> matrix(backend(), 1, 600);
  std::vector<std::vector<float>> written;
  for (int round = 0; round < 3; ++round) {
    for (int64_t n : {1, 600, 64, 7}) {
      written.push_back(RandomFloats(600, static_cast<uint32_t>(written.size())));
      backend().CopyFromHost(matrix.view().data(), written.back().data(), 600 * sizeof(float));
      reads->Start(matrix.view().data(), n * sizeof(float));
      written.back().resize(n);
      if (n == 64) {  // one is taken between the others
        EXPECT_TRUE(SameBits(Floats(reads->Take()), written.front()));
        written.erase(written.begin());
      }
    }
  }
  backend().Synchronize();
  EXPECT_TRUE(reads->Ready());
  for (const std::vector<float>& want : written) EXPECT_TRUE(SameBits(Floats(reads->Take()), want));
}

INSTANTIATE_BACKEND_TEST(DelayedReadsTest);

}  // namespace
}  // namespace ternion
