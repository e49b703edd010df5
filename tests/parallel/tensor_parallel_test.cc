#include <gtest/gtest.h>

#include <tuple>

#include "tests/support/exchange_cases.h"
#include "tests/support/rank_threads.h"

namespace ternion {
namespace {

// (ranks, one_shot_tokens): steps of both kinds, or of one alone. Every case compares with the same plain
// computation bit by bit, so one-shot and sequence-parallel give the same bits too.
class TensorParallelTest : public testing::TestWithParam<std::tuple<int, int>> {
 protected:
  // Calls check(rank, tokens) on every rank for every number of tokens.
  template <typename Check>
  void ForEachStep(Check check) const {
    RunRanks(std::get<0>(GetParam()), [&](Communicator& group) {
      ExchangeRank rank(group, std::get<1>(GetParam()));
      for (const int64_t tokens : StepSizes(group.size())) {
        check(rank, tokens);
        if (testing::Test::HasFatalFailure()) return;
      }
    });
  }
};

class FloatReduceTest : public TensorParallelTest {};  // between ranks

TEST_P(TensorParallelTest, ReduceExact) { ForEachStep(CheckReduceExact); }

TEST_P(FloatReduceTest, Floats) { ForEachStep(CheckReduceFloats); }

TEST_P(FloatReduceTest, Int8) {
  ForEachStep([](ExchangeRank& rank, int64_t tokens) {
    CheckReduceLossy(rank, WireFormat::kInt8, false, tokens);
    CheckReduceLossy(rank, WireFormat::kInt8, true, tokens);
  });
}

TEST_P(FloatReduceTest, Int4) {
  ForEachStep([](ExchangeRank& rank, int64_t tokens) {
    CheckReduceLossy(rank, WireFormat::kInt4, false, tokens);
    CheckReduceLossy(rank, WireFormat::kInt4, true, tokens);
  });
}

TEST_P(TensorParallelTest, GatherCodes) {
  ForEachStep([](ExchangeRank& rank, int64_t tokens) {
    CheckGatherCodes(rank, true, tokens);
    CheckGatherCodes(rank, false, tokens);
  });
}

TEST_P(TensorParallelTest, GatherFloats) { ForEachStep(CheckGatherFloats); }

TEST_P(TensorParallelTest, GatherColumns) {
  ForEachStep([](ExchangeRank& rank, int64_t tokens) { CheckGatherColumns(rank, tokens, 20); });
}

TEST_P(TensorParallelTest, MaxOverRanks) { ForEachStep(CheckMaxOverRanks); }

// 20 columns a rank are gathered by every rank; 700 are spread over the ranks at 100 tokens.
TEST_P(TensorParallelTest, KthMagnitude) {
  ForEachStep([](ExchangeRank& rank, int64_t tokens) {
    CheckKthMagnitude(rank, tokens, 20);
    if (tokens == 100) CheckKthMagnitude(rank, tokens, 700);
  });
}

TEST_P(TensorParallelTest, EmbedRows) { ForEachStep(CheckEmbedRows); }

TEST_P(TensorParallelTest, GatherRows) { ForEachStep(CheckGatherRows); }

INSTANTIATE_TEST_SUITE_P(Ranks, TensorParallelTest,
                         testing::Combine(testing::Values(1, 2, 3, 4, 8), testing::Values(0, 16, 1000)));
INSTANTIATE_TEST_SUITE_P(Ranks, FloatReduceTest,
                         testing::Combine(testing::Values(2, 3, 4, 8), testing::Values(0, 16, 1000)));

TEST(TensorParallel, KthMagnitudeOfOneWideRowLeavesOwnersWithoutRows) {
  RunRanks(4, [](Communicator& group) {
    ExchangeRank rank(group, 16);
    CheckKthMagnitude(rank, 1, 30'000);
  });
}

// Five rows of more than 8 MB a pair: the exchange goes in slices, and its buffers grow.
TEST(TensorParallel, GatherColumnsOfWideRowsGoesInSlices) {
  RunRanks(3, [](Communicator& group) {
    ExchangeRank rank(group, 16);
    CheckGatherColumns(rank, 5, 400'000);
  });
}

TEST(TensorParallel, RowsBelongToRankFloorOfShare) {
  RunRanks(3, [](Communicator& group) {
    ExchangeRank rank(group, 4);
    EXPECT_EQ(rank.exchange->OwnedRows(4), (Range{0, 4}));  // one-shot
    for (int64_t tokens = 5; tokens < 20; ++tokens) {
      for (int64_t t = 0; t < tokens; ++t) {
        const Range owned = rank.exchange->OwnedRows(tokens, static_cast<int>(t * 3 / tokens));
        EXPECT_TRUE(owned.begin <= t && t < owned.end) << t << " of " << tokens;
      }
    }
  });
}

TEST(TensorParallel, ErrorsOfTheGroupAreReturned) {
  RunRanks(2, [](Communicator& group) {
    if (group.rank() == 1) return;
    ExchangeRank rank(group, 16);
    float value = 1.0f;
    EXPECT_EQ(rank.exchange->MaxOverRanks({&value, 1, 1}).code(), absl::StatusCode::kUnavailable);
  });
}

TEST(TensorParallelDeathTest, LossyReduceOfOneRankIsOurFault) {
  const std::unique_ptr<Communicator> solo = MakeSoloCommunicator();
  ExchangeRank rank(*solo, 16);
  float value = 1.0f;
  EXPECT_DEATH(
      (void)rank.exchange->ReduceLossy(WireFormat::kInt8, {&value, 1, 1}, nullptr, {&value, 1, 1}, nullptr),
      "between ranks");
}

}  // namespace
}  // namespace ternion
