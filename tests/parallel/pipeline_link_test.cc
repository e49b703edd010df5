#include <gtest/gtest.h>

#include <tuple>

#include "tests/support/exchange_cases.h"
#include "tests/support/rank_threads.h"
#include "tests/support/test_matrix.h"

namespace ternion {
namespace {

// (tp, stages, wire, one_shot_tokens)
class PipelineLinkTest : public testing::TestWithParam<std::tuple<int, int, WireFormat, int>> {};

TEST_P(PipelineLinkTest, EveryStageHoldsWhatTheWireLeft) {
  const auto [tp, stages, format, one_shot_tokens] = GetParam();
  const WireFormat wire = format;
  const int64_t one_shot = one_shot_tokens;
  RunGrid(tp, stages, [&](Communicator& group, Communicator& column) {
    ExchangeRank rank(group, one_shot);
    CheckPipeline(rank, column, wire);
  });
}

INSTANTIATE_TEST_SUITE_P(Grids, PipelineLinkTest,
                         testing::Combine(testing::Values(1, 2, 3), testing::Values(2, 3),
                                          testing::Values(WireFormat::kExact, WireFormat::kInt8,
                                                          WireFormat::kInt4),
                                          testing::Values(0, 16)));

// Two ranks a stage, 8 tokens of 32 channels in 4-bit: 20 bytes a row. Each rank sends its 4 rows on; when
// one-shot the receivers share theirs.
TEST(PipelineLink, CountsItsBytes) {
  for (const int one_shot : {0, 16}) {
    RunGrid(2, 2, [&](Communicator& group, Communicator& column) {
      ExchangeRank rank(group, one_shot);
      auto link = PipelineLink::Create(&rank.backend, &column, &group, rank.exchange.get(), &rank.bytes,
                                       WireFormat::kInt4, 8, 32);
      ASSERT_TRUE(link.ok());
      TestMatrix<float> x(rank.exchange->OwnedRows(8).size(), 32);
      if (column.rank() == 0) {
        ASSERT_TRUE((*link)->Send(8, x.view()).ok());
        EXPECT_EQ(rank.bytes.pipeline, 4 * 20);
      } else {
        ASSERT_TRUE((*link)->Recv(8, x.view()).ok());
        EXPECT_EQ(rank.bytes.pipeline, one_shot > 0 ? 4 * 20 : 0);
      }
      EXPECT_EQ(rank.bytes.reduce + rank.bytes.gather, 0);
    });
  }
}

TEST(PipelineLink, TheLossOfAStageIsAnError) {
  RunGrid(1, 2, [](Communicator& group, Communicator& column) {
    if (column.rank() == 0) return;
    ExchangeRank rank(group, 16);
    auto link = PipelineLink::Create(&rank.backend, &column, &group, rank.exchange.get(), &rank.bytes,
                                     WireFormat::kExact, 8, 32);
    ASSERT_TRUE(link.ok());
    TestMatrix<float> x(8, 32);
    EXPECT_EQ((*link)->Recv(8, x.view()).code(), absl::StatusCode::kUnavailable);
  });
}

}  // namespace
}  // namespace ternion
