#include "launcher/deadline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>

namespace ternion {
namespace {

using std::chrono::milliseconds;

TEST(Deadline, CallsWhenItPasses) {
  std::promise<void> late;
  const auto begin = std::chrono::steady_clock::now();
  Deadline deadline(milliseconds(30), [&] { late.set_value(); });
  late.get_future().wait();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(30));
}

TEST(Deadline, NeverCallsWhenItIsMet) {
  std::atomic<bool> late = false;
  const auto begin = std::chrono::steady_clock::now();
  {
    Deadline deadline(std::chrono::hours(1), [&] { late = true; });
  }
  EXPECT_FALSE(late);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(1));
}

}  // namespace
}  // namespace ternion
