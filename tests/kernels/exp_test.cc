#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#define TERNION_ISA exp_under_test
#include "kernels/cpu/simd/exp.h"

namespace ternion {
namespace {

using cpu::exp_under_test::Exp;

TEST(Exp, IsWithinTwoUnitsOfTheLastPlace) {
  double worst = 0;
  for (float x = -87.33f; x < 88.72f; x += 1.7e-4f) {
    const double want = std::exp(double{x});
    const double unit = std::nextafter(static_cast<float>(want), INFINITY) - static_cast<float>(want);
    worst = std::max(worst, std::abs(Exp(x) - want) / unit);
  }
  EXPECT_LT(worst, 1.5);
  RecordProperty("worst_ulp", std::to_string(worst));
}

TEST(Exp, Ends) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Exp(0.0f), 1.0f);
  EXPECT_EQ(Exp(-0.0f), 1.0f);
  EXPECT_EQ(Exp(-infinity), 0.0f);
  EXPECT_EQ(Exp(-87.4f), 0.0f);
  EXPECT_EQ(Exp(-1e30f), 0.0f);
  EXPECT_GT(Exp(-87.3f), 0.0f);
  EXPECT_EQ(Exp(infinity), infinity);
  EXPECT_EQ(Exp(89.0f), infinity);
  EXPECT_LT(Exp(88.72f), infinity);
  EXPECT_TRUE(std::isnan(Exp(std::nanf(""))));
}

TEST(Exp, Rises) {
  float last = 0;
  for (float x = -20; x < 20; x += 1e-3f) {
    ASSERT_GT(Exp(x), last) << x;
    last = Exp(x);
  }
}

}  // namespace
}  // namespace ternion
