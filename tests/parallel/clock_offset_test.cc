#include "parallel/clock_offset.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>

#include "tests/support/rank_threads.h"

namespace ternion {
namespace {

using std::chrono::nanoseconds;

nanoseconds Now() { return std::chrono::steady_clock::now().time_since_epoch(); }

TEST(ClockOffset, FindsHowFarEachClockIsAhead) {
  constexpr std::array<nanoseconds, 3> kAhead = {std::chrono::seconds(5), std::chrono::hours(2),
                                                 std::chrono::milliseconds(-300)};
  RunRanks(3, [&](Communicator& world) {
    const nanoseconds mine = kAhead[world.rank()];
    const absl::StatusOr<ClockOffset> offset = MeasureClockOffset(world, [&] { return Now() + mine; });
    ASSERT_TRUE(offset.ok()) << offset.status();
    const nanoseconds error = offset->ahead - (mine - kAhead[0]);
    EXPECT_LE(std::abs(error.count()), offset->uncertainty.count());
    EXPECT_LT(offset->uncertainty, std::chrono::milliseconds(100));
  });
}

TEST(ClockOffset, OneClockIsNotMovedByTheMeasurement) {
  RunRanks(4, [](Communicator& world) {
    const absl::StatusOr<ClockOffset> offset = MeasureClockOffset(world, Now);
    ASSERT_TRUE(offset.ok()) << offset.status();
    EXPECT_EQ(offset->ahead.count(), 0);
  });
}

TEST(ClockOffset, ARankThatLeavesIsAnError) {
  RunRanks(2, [](Communicator& world) {
    if (world.rank() == 1) return;
    EXPECT_EQ(MeasureClockOffset(world, Now).status().code(), absl::StatusCode::kUnavailable);
  });
}

}  // namespace
}  // namespace ternion
