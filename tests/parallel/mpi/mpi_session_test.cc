#include "parallel/mpi_session.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/parallel/mpi/session.h"
#include "tests/support/communicator_contract.h"

namespace ternion {
namespace {

std::string WordsOf(int rank) {
  return std::string(static_cast<size_t>(rank) * 1000 % 2500, 'a') + std::to_string(rank);
}

TEST(MpiSession, KnowsItsPlace) {
  const MpiSession& session = TestSession();
  EXPECT_LT(session.rank(), session.size());
  EXPECT_EQ(session.local_size(), session.size());  // one host
  EXPECT_EQ(session.local_rank(), session.rank());
  EXPECT_FALSE(session.host().empty());
  std::set<std::string> ranks;
  for (const std::string& rank : session.AllGatherStrings(std::to_string(session.rank()))) ranks.insert(rank);
  EXPECT_EQ(ranks.size(), static_cast<size_t>(session.size()));
}

TEST(MpiSession, StringsOfDifferentLengthsAreGathered) {
  const MpiSession& session = TestSession();
  const std::vector<std::string> all = session.AllGatherStrings(WordsOf(session.rank()));
  ASSERT_EQ(all.size(), static_cast<size_t>(session.size()));
  for (int r = 0; r < session.size(); ++r) EXPECT_EQ(all[r], WordsOf(r));
  EXPECT_EQ(session.AllGatherStrings(""), std::vector<std::string>(session.size(), ""));
}

TEST(MpiSession, BroadcastIsRank0s) {
  const MpiSession& session = TestSession();
  EXPECT_EQ(session.Broadcast(WordsOf(session.rank())), WordsOf(0));
  EXPECT_EQ(session.Broadcast(session.rank() == 0 ? std::string("a\0b", 3) : ""), std::string("a\0b", 3));
  EXPECT_EQ(session.Broadcast(""), "");
}

TEST(MpiSession, SplitMakesGroupsOrderedByKey) {
  const MpiSession& session = TestSession();
  const auto group = session.Split(session.rank() % 2, -session.rank());
  ASSERT_TRUE(group.ok()) << group.status();
  const int others = (session.size() + 1 - session.rank() % 2) / 2;
  EXPECT_EQ((*group)->size(), others);
  EXPECT_EQ((*group)->rank(), others - 1 - session.rank() / 2);
  CheckAllGatherContract(**group, *MakeCpuBackend(1));
  CheckAllToAllContract(**group, *MakeCpuBackend(1));
  CheckSendRecvContract(**group, *MakeCpuBackend(1));
}

}  // namespace
}  // namespace ternion
