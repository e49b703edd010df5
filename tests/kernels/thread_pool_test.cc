#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ternion::cpu {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  for (int64_t tasks : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> calls(static_cast<size_t>(tasks));
    pool.ForEach(tasks, [&](int64_t task) { calls[static_cast<size_t>(task)].fetch_add(1); });
    for (const auto& count : calls) EXPECT_EQ(count.load(), 1);
  }
}

// Thousands of short loops back to back, so that late helpers meet the next loop; plain (not atomic) results
// show that a loop's writes are seen when it returns.
TEST_P(ThreadPoolTest, ManyShortLoops) {
  ThreadPool pool(GetParam());
  std::vector<int64_t> sums(16);
  for (int64_t loop = 1; loop <= 5000; ++loop) {
    const int64_t tasks = 1 + loop % 16;
    pool.ForEach(tasks, [&](int64_t task) { sums[static_cast<size_t>(task)] = loop * 100 + task; });
    for (int64_t task = 0; task < tasks; ++task)
      ASSERT_EQ(sums[static_cast<size_t>(task)], loop * 100 + task);
  }
}

// Helpers that went to sleep wake up again: the tasks wait for each other, so one thread alone would never
// finish.
TEST_P(ThreadPoolTest, WakesSleepers) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> arrived{0};
    pool.ForEach(pool.threads(), [&](int64_t) {
      arrived.fetch_add(1);
      while (arrived.load() < pool.threads()) std::this_thread::yield();
    });
    EXPECT_EQ(arrived.load(), pool.threads());
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace ternion::cpu
