#include "kernels/cpu/read_bandwidth.h"

#include <cmath>

#include "gtest/gtest.h"

namespace ternion::cpu {
namespace {

TEST(ReadProbe, MeasuresARate) {
  for (int threads : {1, 3}) {
    for (size_t bytes : {size_t{1}, size_t{40} << 20}) {
      const double rate = ReadProbe(threads, bytes).Measure();
      EXPECT_TRUE(std::isfinite(rate));
      EXPECT_GT(rate, 1e6) << threads << " threads, " << bytes << " bytes";
    }
  }
}

}  // namespace
}  // namespace ternion::cpu
