#include "parallel/mpi_communicator.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/parallel/mpi/session.h"
#include "tests/support/communicator_contract.h"
#include "tests/support/exchange_cases.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

std::unique_ptr<Communicator> World() {
  auto world = TestSession().Split(0, TestSession().rank());
  CHECK(world.ok(), "the world is a group too");
  return *std::move(world);
}

TEST(MpiCommunicator, AllGather) { CheckAllGatherContract(*World(), *MakeCpuBackend(1)); }
TEST(MpiCommunicator, AllToAll) { CheckAllToAllContract(*World(), *MakeCpuBackend(1)); }
TEST(MpiCommunicator, SendRecv) { CheckSendRecvContract(*World(), *MakeCpuBackend(1)); }

// A hundred messages of which seven may be pending: what was delivered is let go of.
TEST(MpiCommunicator, DeliveredMessagesAreFreed) {
  const int partner = TestSession().rank() ^ 1;
  MPI_Comm comm;
  ASSERT_EQ(MPI_Comm_dup(MPI_COMM_WORLD, &comm), MPI_SUCCESS);
  const std::unique_ptr<Communicator> world = MakeMpiCommunicator(comm, size_t{4} << 20);
  if (partner >= world->size()) GTEST_SKIP() << "needs a partner";
  const std::vector<std::byte> message(600'000, std::byte{5});
  std::vector<std::byte> got(message.size());
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(world->Send(message, partner).ok()) << round;
    ASSERT_TRUE(world->Recv(absl::MakeSpan(got), partner).ok());
  }
  EXPECT_TRUE(got == message);
  const std::vector<std::byte> too_much((size_t{4} << 20) + 1);
  EXPECT_EQ(world->Send(too_much, partner).code(), absl::StatusCode::kResourceExhausted);
}

// A stage's rows arrive while the stage that sent them computes: it makes no call until it learns that they are there.
TEST(MpiCommunicator, AMessageArrivesWithoutTheSendersHelp) {
  const MpiSession& session = TestSession();
  if (session.size() == 1) GTEST_SKIP() << "needs another rank";
  const std::unique_ptr<Communicator> world = World();
  const TempFolder folder;
  const std::filesystem::path arrived =
      std::filesystem::path(session.AllGatherStrings(folder.path().string())[0]) / "arrived";
  const std::vector<std::byte> message(300'000, std::byte{7});
  if (session.rank() == 0) {
    ASSERT_TRUE(world->Send(message, 1).ok());
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!std::filesystem::exists(arrived) && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_TRUE(std::filesystem::exists(arrived));
  }
  if (session.rank() == 1) {
    std::vector<std::byte> got(message.size());
    EXPECT_TRUE(world->Recv(absl::MakeSpan(got), 0).ok());
    EXPECT_TRUE(got == message);
    std::ofstream(arrived).put('1');
  }
  session.AllGatherStrings("");
}

// A communicator may go while a message of it is on its way.
TEST(MpiCommunicator, MessagesOutliveTheirCommunicator) {
  const MpiSession& session = TestSession();
  if (session.size() == 1) GTEST_SKIP() << "needs another rank";
  const std::vector<std::byte> message(300'000, std::byte{6});
  {
    const std::unique_ptr<Communicator> world = World();
    std::vector<std::byte> got(message.size());
    if (session.rank() == 0) {
      ASSERT_TRUE(world->Send(message, 1).ok());
    }
    if (session.rank() == 1) {
      ASSERT_TRUE(world->Recv(absl::MakeSpan(got), 0).ok());
      EXPECT_TRUE(got == message);
    }
  }
  session.AllGatherStrings("");
}

// A size that MPI cannot count is refused before any byte is touched: the spans below are never read.
TEST(MpiCommunicator, AnExchangeThatMpiCannotCountIsRefused) {
  const std::unique_ptr<Communicator> world = World();
  std::byte nothing{};
  const size_t huge = (size_t{3} << 30) / world->size();
  const std::vector<size_t> counts(world->size(), huge);
  const absl::Status status = world->AllGather({&nothing, huge}, counts, {&nothing, huge * world->size()});
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_NE(status.message().find("2147483647"), absl::string_view::npos) << status;
}

TEST(MpiCommunicator, CarriesEveryExchange) {
  const std::unique_ptr<Communicator> world = World();
  for (const int one_shot_tokens : {0, 16}) {
    ExchangeRank rank(*world, one_shot_tokens);
    for (const int64_t tokens : StepSizes(world->size())) CheckExchanges(rank, tokens);
    CheckKthMagnitude(rank, 100, 700);
  }
}

// A grid of two stages; of one rank, or an odd one, there is none.
TEST(MpiCommunicator, CarriesAPipeline) {
  const MpiSession& session = TestSession();
  if (session.size() % 2 != 0) GTEST_SKIP() << "needs an even number of ranks";
  const int tp = session.size() / 2;
  const auto group = session.Split(session.rank() / tp, session.rank());
  const auto column = session.Split(session.rank() % tp, session.rank());
  ASSERT_TRUE(group.ok() && column.ok());
  for (const WireFormat format : {WireFormat::kExact, WireFormat::kInt8, WireFormat::kInt4}) {
    for (const int one_shot_tokens : {0, 16}) {
      ExchangeRank rank(**group, one_shot_tokens);
      CheckPipeline(rank, **column, format);
    }
  }
}

TEST(MpiCommunicator, ErrorsNameTheCallAndMpisReason) {
  const absl::Status status = MpiStatus(MPI_ERR_TRUNCATE, "MPI_Recv");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("MPI_Recv failed: MPI_ERR_TRUNCATE"), absl::string_view::npos) << status;
  EXPECT_TRUE(MpiStatus(MPI_SUCCESS, "MPI_Recv").ok());
}

}  // namespace
}  // namespace ternion
