#include "parallel/nccl_communicator.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/device_memory_query.h"
#include "tests/parallel/mpi/session.h"
#include "tests/support/backends.h"
#include "tests/support/communicator_contract.h"
#include "tests/support/exchange_cases.h"

namespace ternion {
namespace {

// A device for each rank; skipped where there is none.
class NcclCommunicatorTest : public testing::Test {
 protected:
  void SetUp() override {
    const MpiSession& session = TestSession();
    if (!HasNccl()) GTEST_SKIP() << "this build has no NCCL";
    if (session.size() == 1) GTEST_SKIP() << "needs another rank";
    if (CudaDeviceCount() < session.local_size()) {
      GTEST_SKIP() << session.local_size() << " ranks need as many CUDA devices; there are "
                   << CudaDeviceCount();
    }
    auto backend = MakeCudaBackend(session.local_rank());
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
  }

  void Connect(NcclUse use) {
    auto world = MakeNcclCommunicator(*backend_, TestSession(), 0, TestSession().rank(), use);
    ASSERT_TRUE(world.ok()) << world.status();
    world_ = *std::move(world);
  }

  std::unique_ptr<Communicator> world_;  // goes after the backend, whose records hold on to it
  std::unique_ptr<Backend> backend_;
};

TEST_F(NcclCommunicatorTest, AllGather) {
  ASSERT_NO_FATAL_FAILURE(Connect(NcclUse::kCollectives));
  CheckAllGatherContract(*world_, *backend_);
}

TEST_F(NcclCommunicatorTest, AllToAll) {
  ASSERT_NO_FATAL_FAILURE(Connect(NcclUse::kCollectives));
  CheckAllToAllContract(*world_, *backend_);
}

// Of two ranks each is the other's next.
TEST_F(NcclCommunicatorTest, SendRecvOfTwo) {
  if (TestSession().size() != 2) GTEST_SKIP() << "needs two ranks";
  ASSERT_NO_FATAL_FAILURE(Connect(NcclUse::kAll));
  CheckSendRecvContract(*world_, *backend_);
}

// Many large messages are on their way before the first is received, and the sender's stream is done all the same.
TEST_F(NcclCommunicatorTest, ASenderDoesNotWait) {
  ASSERT_NO_FATAL_FAILURE(Connect(NcclUse::kPointToPoint));
  const int rank = world_->rank();
  const int size = world_->size();
  constexpr int64_t kFloats = int64_t{1} << 20;
  constexpr int kMessages = 20;
  const std::vector<float> values = RandomFloats(kFloats, static_cast<uint32_t>(rank));
  const DeviceMatrix<float> sent(*backend_, 1, kFloats, values);
  const DeviceMatrix<float> got(*backend_, 1, kFloats);
  const auto bytes = [](const DeviceMatrix<float>& x) {
    return absl::Span<std::byte>(reinterpret_cast<std::byte*>(x.view().data()), x.view().bytes());
  };
  for (int i = 0; i < kMessages; ++i) ASSERT_TRUE(world_->Send(bytes(sent), (rank + 1) % size).ok());
  backend_->Synchronize();
  TestSession().AllGatherStrings("");  // nobody receives before all have sent
  const int from = (rank + size - 1) % size;
  const std::vector<float> want = RandomFloats(kFloats, static_cast<uint32_t>(from));
  for (int i = 0; i < kMessages; ++i) {
    ASSERT_TRUE(world_->Recv(bytes(got), from).ok());
    ASSERT_TRUE(SameBits(got.Read(), want)) << i;
  }
}

TEST_F(NcclCommunicatorTest, CarriesEveryExchange) {
  ASSERT_NO_FATAL_FAILURE(Connect(NcclUse::kCollectives));
  for (const int one_shot_tokens : {0, 16}) {
    ExchangeRank rank(*world_, one_shot_tokens, *backend_);
    for (const int64_t tokens : StepSizes(world_->size())) CheckExchanges(rank, tokens);
    CheckKthMagnitude(rank, 100, 700);
  }
}

// Every rank is a stage.
TEST_F(NcclCommunicatorTest, CarriesAPipeline) {
  ASSERT_NO_FATAL_FAILURE(Connect(NcclUse::kPointToPoint));
  const std::unique_ptr<Communicator> solo = MakeSoloCommunicator();
  for (const WireFormat format : {WireFormat::kExact, WireFormat::kInt8, WireFormat::kInt4}) {
    ExchangeRank rank(*solo, 16, *backend_);
    CheckPipeline(rank, *world_, format);
  }
}

// The first run is plain, the second is recorded, the others repeat it with other contents.
TEST_F(NcclCommunicatorTest, ExchangesMayBeRecorded) {
  ASSERT_NO_FATAL_FAILURE(Connect(NcclUse::kCollectives));
  ExchangeRank rank(*world_, 16, *backend_);
  constexpr int64_t kChannels = 256;
  for (const int64_t tokens : {int64_t{3}, int64_t{40}}) {
    const int64_t owned = rank.exchange->OwnedRows(tokens).size();
    const DeviceMatrix<int32_t> partial(*backend_, tokens, kChannels);
    const DeviceMatrix<int32_t> sum(*backend_, owned, kChannels);
    for (int run = 0; run < 5; ++run) {
      const std::vector<int32_t> values(tokens * kChannels, 100 * run + world_->rank());
      backend_->CopyFromHost(partial.view().data(), values.data(), values.size() * sizeof(int32_t));
      const auto ran = backend_->Replay(static_cast<uint64_t>(tokens),
                                        [&] { return rank.exchange->ReduceExact(partial, sum); });
      ASSERT_TRUE(ran.ok()) << ran.status();
      EXPECT_EQ(*ran, run < 2);
      const int32_t ranks = world_->size();
      const std::vector<int32_t> want(owned * kChannels, 100 * run * ranks + ranks * (ranks - 1) / 2);
      EXPECT_EQ(sum.Read(), want) << "run " << run << " of " << tokens << " tokens";
    }
  }
}

// Pairs of ranks, each a group of its own, in the opposite order.
TEST_F(NcclCommunicatorTest, GroupsAreOrderedByKey) {
  const MpiSession& session = TestSession();
  auto group = MakeNcclCommunicator(*backend_, session, session.rank() / 2, -session.rank(), NcclUse::kAll);
  ASSERT_TRUE(group.ok()) << group.status();
  world_ = *std::move(group);
  const bool last = session.rank() == session.size() - 1 && session.size() % 2 == 1;  // alone
  EXPECT_EQ(world_->size(), last ? 1 : 2);
  EXPECT_EQ(world_->rank(), last ? 0 : 1 - session.rank() % 2);
  CheckAllGatherContract(*world_, *backend_);
  CheckAllToAllContract(*world_, *backend_);
}

}  // namespace
}  // namespace ternion
