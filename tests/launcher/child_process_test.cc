#include "launcher/child_process.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "launcher/exit_code.h"
#include "launcher/told_status.h"

namespace ternion {
namespace {

LaunchCommand Shell(const std::string& line) { return {{"sh", "-c", line}, {}, {}}; }

TEST(RunTogether, TellsStatusAndOutputOfEach) {
  const LaunchCommand commands[] = {
      Shell("echo out; echo err >&2; exit 3"), Shell("kill -9 $$"), {{"/no/such/program"}, {}, {}}};
  const auto outputs = RunTogether(commands, std::chrono::seconds(20));
  ASSERT_EQ(outputs.size(), 3u);
  ASSERT_TRUE(outputs[0].ok()) << outputs[0].status();
  EXPECT_EQ(outputs[0]->status, 3);
  EXPECT_EQ(outputs[0]->out, "out\n");
  EXPECT_EQ(outputs[0]->err, "err\n");
  ASSERT_TRUE(outputs[1].ok()) << outputs[1].status();
  EXPECT_EQ(outputs[1]->status, 128 + 9);
  EXPECT_EQ(outputs[2].status().message(), "cannot start /no/such/program: No such file or directory");
}

TEST(RunTogether, EndsWhatTakesTooLong) {
  const LaunchCommand commands[] = {Shell("echo begun; sleep 300")};
  const auto outputs = RunTogether(commands, std::chrono::milliseconds(50));
  ASSERT_TRUE(outputs[0].ok()) << outputs[0].status();
  EXPECT_EQ(outputs[0]->status, -1);
}

TEST(RunTogether, HandsOnWhatTheCommandNames) {
  setenv("TERNION_TP", "8", 1);
  setenv("OTHER_THING", "seen", 1);
  LaunchCommand command = Shell("echo $TERNION_TP,$OTHER_THING,$A,$B");
  command.environment = {{"A", "a"}};
  command.secrets = {{"B", "b"}};
  const auto outputs = RunTogether({&command, 1}, std::chrono::seconds(20));
  unsetenv("TERNION_TP");
  unsetenv("OTHER_THING");
  ASSERT_TRUE(outputs[0].ok()) << outputs[0].status();
  EXPECT_EQ(outputs[0]->out, ",seen,a,b\n");
}

TEST(ToldStatuses, MakeTheStatusOfAJob) {
  ToldStatuses none;
  EXPECT_EQ(none.JobStatus(2, 1), kFailed);    // mpirun could not start
  EXPECT_EQ(none.JobStatus(2, 0), kLostRank);  // all were killed
  EXPECT_FALSE(none.Take("served 3 4\n"));
  ToldStatuses well;
  EXPECT_TRUE(well.Take("ternion-rank-status 0 0\n"));
  EXPECT_EQ(well.JobStatus(2, 0), kLostRank);  // rank 1 said nothing
  EXPECT_TRUE(well.Take("ternion-rank-status 1 0\n"));
  EXPECT_EQ(well.JobStatus(2, 0), kDone);
  ToldStatuses refused;
  refused.Take("ternion-rank-status 0 2\n");
  refused.Take("ternion-rank-status 1 2\n");
  EXPECT_EQ(refused.JobStatus(2, 0), kBadArguments);
  ToldStatuses lost;
  lost.Take("ternion-rank-status 1 4\n");
  EXPECT_TRUE(lost.RankWasLost());
  EXPECT_EQ(lost.JobStatus(1, 0), kLostRank);
}

}  // namespace
}  // namespace ternion
