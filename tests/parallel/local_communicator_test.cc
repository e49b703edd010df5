#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/support/communicator_contract.h"
#include "tests/support/rank_threads.h"

namespace ternion {
namespace {

class LocalCommunicatorTest : public testing::TestWithParam<int> {};

TEST_P(LocalCommunicatorTest, AllGather) {
  RunRanks(GetParam(), [](Communicator& group) { CheckAllGatherContract(group, *MakeCpuBackend(1)); });
}
TEST_P(LocalCommunicatorTest, AllToAll) {
  RunRanks(GetParam(), [](Communicator& group) { CheckAllToAllContract(group, *MakeCpuBackend(1)); });
}
TEST_P(LocalCommunicatorTest, SendRecv) {
  RunRanks(GetParam(), [](Communicator& group) { CheckSendRecvContract(group, *MakeCpuBackend(1)); });
}

INSTANTIATE_TEST_SUITE_P(Sizes, LocalCommunicatorTest, testing::Values(1, 2, 3, 4, 8));

TEST(LocalCommunicator, ThoseThatWaitForARankThatLeftGetAnError) {
  RunRanks(3, [](Communicator& group) {
    if (group.rank() == 1) return;
    std::array<std::byte, 3> gathered;
    const std::array<size_t, 3> counts = {1, 1, 1};
    const std::array<std::byte, 1> mine = {std::byte{7}};
    EXPECT_EQ(group.AllGather(mine, counts, absl::MakeSpan(gathered)).code(), absl::StatusCode::kUnavailable);
    const absl::Status status = group.Recv(absl::MakeSpan(gathered), 1);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(status.message().find("rank 1"), absl::string_view::npos) << status;
  });
}

TEST(LocalCommunicator, MessagesOfARankThatLeftStillArrive) {
  RunRanks(2, [](Communicator& group) {
    std::array<std::byte, 2> data = {std::byte{3}, std::byte{4}};
    if (group.rank() == 0) {
      ASSERT_TRUE(group.Send(data, 1).ok());
      return;
    }
    std::array<std::byte, 2> got;
    ASSERT_TRUE(group.Recv(absl::MakeSpan(got), 0).ok());
    EXPECT_EQ(got, data);
  });
}

TEST(LocalCommunicatorDeathTest, RanksThatDisagreeOnBytesAreOurFault) {
  const auto disagree = [](Communicator& group) {
    const std::vector<size_t> counts(2, group.rank() == 0 ? 4 : 8);
    const std::vector<std::byte> mine(counts[0]);
    std::vector<std::byte> all(2 * counts[0]);
    (void)group.AllGather(mine, counts, absl::MakeSpan(all));
  };
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(RunRanks(2, disagree), "disagree");
}

TEST(SoloCommunicator, KeepsTheContract) {
  const std::unique_ptr<Communicator> solo = MakeSoloCommunicator();
  EXPECT_EQ(solo->rank(), 0);
  EXPECT_EQ(solo->size(), 1);
  CheckAllGatherContract(*solo, *MakeCpuBackend(1));
  CheckAllToAllContract(*solo, *MakeCpuBackend(1));
}

}  // namespace
}  // namespace ternion
