// What the other tests rely on: a program's output and status are seen, and nothing of it stays behind.
#include "tests/support/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace ternion {
namespace {

constexpr std::chrono::seconds kLimit{20};

TEST(ProcessTest, TellsOutputAndStatus) {
  Process process({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(process.Wait(kLimit), 3);
  EXPECT_EQ(process.Out(), "out\n");
  EXPECT_EQ(process.Err(), "err\n");
}

TEST(ProcessTest, TellsSignal) {
  Process process({"sh", "-c", "kill -9 $$"});
  EXPECT_EQ(process.Wait(kLimit), 128 + SIGKILL);
}

TEST(ProcessTest, HasOneEnvironment) {
  setenv("TERNION_TP", "2", 1);
  Process process({"sh", "-c", "echo \"$HOME,$TERNION_TP\""}, {"HOME=/nowhere"});
  unsetenv("TERNION_TP");
  EXPECT_EQ(process.Wait(kLimit), 0);
  EXPECT_EQ(process.Out(), "/nowhere,\n");
}

// The children have left the program's process group and its session, as mpirun's ranks do.
TEST(ProcessTest, KillsWhatItStarted) {
  Process process({"sh", "-c", "setsid sleep 300 & setsid sleep 300 & echo started >&2; wait"});
  ASSERT_TRUE(process.WaitForErr("started", kLimit));
  EXPECT_EQ(process.Wait(std::chrono::milliseconds(50)), std::nullopt);
  EXPECT_GE(process.Members().size(), 1u);
  process.Kill();
  EXPECT_EQ(process.Members(), std::vector<pid_t>());
}

}  // namespace
}  // namespace ternion
