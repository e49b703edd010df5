// What a rank counts as sent to others, worked out by hand for 4 ranks and a step of 8 tokens: 2 rows an
// owner.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/support/exchange_cases.h"
#include "tests/support/rank_threads.h"
#include "tests/support/test_matrix.h"

namespace ternion {
namespace {

constexpr int kRanks = 4;
constexpr int64_t kTokens = 8;
constexpr int64_t kChannels = 256;

// The bytes by which `counter` grows in `call`.
template <typename Call>
int64_t Sent(std::atomic<int64_t>& counter, Call call) {
  const int64_t before = counter;
  const absl::Status status = call();
  EXPECT_TRUE(status.ok()) << status;
  return counter - before;
}

class WireBytesTest : public testing::TestWithParam<int> {  // one_shot_tokens
 protected:
  static int64_t Pick(int64_t one_shot, int64_t sequence_parallel) {
    return GetParam() > 0 ? one_shot : sequence_parallel;
  }
  template <typename Body>
  static void OnEveryRank(Body body) {
    RunRanks(kRanks, [&](Communicator& group) {
      ExchangeRank rank(group, GetParam());
      body(rank);
      EXPECT_EQ(rank.bytes.pipeline, 0);
    });
  }
};

TEST_P(WireBytesTest, Reduce) {
  OnEveryRank([](ExchangeRank& rank) {
    TensorParallel& exchange = *rank.exchange;
    const int64_t owned = exchange.OwnedRows(kTokens).size();
    TestMatrix<int32_t> sums(kTokens, kChannels);
    TestMatrix<int32_t> sum(owned, kChannels);
    TestMatrix<float> rows(kTokens, kChannels);
    TestMatrix<float> extra(1, kTokens);
    TestMatrix<float> out(owned, kChannels);
    // To each of 3 others: 8 whole rows, or its 2. A row is 256 * 4; 2 * (2 + 128); 8 * (4 + 16); 4 more with
    // an extra. Encoded blocks are filled up to 16 bytes: 2 * 260 to 528, 2 * 164 to 336.
    EXPECT_EQ(Sent(rank.bytes.reduce, [&] { return exchange.ReduceExact(sums.view(), sum.view()); }),
              Pick(3 * 8 * 1024, 3 * 2 * 1024));
    EXPECT_EQ(Sent(rank.bytes.reduce,
                   [&] {
                     return exchange.ReduceLossy(WireFormat::kInt8, rows.view(), nullptr, out.view(),
                                                 nullptr);
                   }),
              Pick(3 * 8 * 260, 3 * 528));
    EXPECT_EQ(Sent(rank.bytes.reduce,
                   [&] {
                     return exchange.ReduceLossy(WireFormat::kInt4, rows.view(), extra.values.data(),
                                                 out.view(), extra.values.data());
                   }),
              Pick(3 * 8 * 164, 3 * 336));
    EXPECT_EQ(rank.bytes.gather, 0);
  });
}

TEST_P(WireBytesTest, Gather) {
  OnEveryRank([](ExchangeRank& rank) {
    TensorParallel& exchange = *rank.exchange;
    const int64_t owned = exchange.OwnedRows(kTokens).size();
    TestMatrix<int8_t> codes(owned, kChannels);
    TestMatrix<int8_t> all_codes(kTokens, kChannels);
    TestMatrix<float> scales(1, owned);
    TestMatrix<float> all_scales(1, kTokens);
    TestMatrix<float> rows(owned, kChannels);
    TestMatrix<float> all_rows(kTokens, kChannels);
    const auto gather_codes = [&](bool int4) {
      return exchange.GatherCodes(int4, {codes.view(), scales.view()}, {all_codes.view(), all_scales.view()});
    };
    // 2 owned rows to 3 others; nothing when every rank holds all of them. 2 * (128 + 4) and 2 * (256 + 4) bytes of
    // codes are filled up to 16.
    EXPECT_EQ(Sent(rank.bytes.gather, [&] { return gather_codes(true); }), Pick(0, 3 * 272));
    EXPECT_EQ(Sent(rank.bytes.gather, [&] { return gather_codes(false); }), Pick(0, 3 * 528));
    std::vector<int32_t> every(kTokens);
    std::iota(every.begin(), every.end(), 0);
    const auto gather_rows = [&] {
      return exchange.GatherRows(kTokens, every, rows.view(), all_rows.view());
    };
    EXPECT_EQ(Sent(rank.bytes.gather, gather_rows), Pick(0, 3 * 2 * 1024));
    EXPECT_EQ(Sent(rank.bytes.gather, [&] { return exchange.MaxOverRanks(all_scales.view()); }), 3 * 8 * 4);
    EXPECT_EQ(rank.bytes.reduce, 0);
  });
}

TEST_P(WireBytesTest, Columns) {
  OnEveryRank([](ExchangeRank& rank) {
    const std::vector<int64_t> columns = {10, 0, 20, 30};
    const int64_t mine = columns[rank.group.rank()];
    TestMatrix<float> part(kTokens, mine);
    TestMatrix<float> whole(kTokens, 60);
    TestMatrix<float> threshold(1, kTokens);
    EXPECT_EQ(Sent(rank.bytes.gather,
                   [&] { return rank.exchange->GatherColumns(part.view(), columns, whole.view()); }),
              3 * 8 * mine * 4);
    EXPECT_EQ(Sent(rank.bytes.gather,
                   [&] { return rank.exchange->KthMagnitude(part.view(), columns, 30, threshold.view()); }),
              3 * 8 * mine * 4);
    // 8 rows of 40,000 are too many to gather: 2 rows' columns to each owner, then 2 thresholds to 3 others.
    const std::vector<int64_t> wide(kRanks, 10'000);
    TestMatrix<float> wide_part(kTokens, 10'000);
    EXPECT_EQ(Sent(rank.bytes.gather,
                   [&] { return rank.exchange->KthMagnitude(wide_part.view(), wide, 9, threshold.view()); }),
              3 * 2 * 40'000 + 3 * 2 * 4);
  });
}

TEST_P(WireBytesTest, EmbeddingRowsComeFromTheirOwner) {
  OnEveryRank([](ExchangeRank& rank) {
    // All ids lie in rank 2's quarter of the vocabulary; its 8 rows of 12 bfloat16 go out, or 6 of them, one
    // a token.
    TestMatrix<BFloat16> table(256, 12);
    const std::vector<int32_t> ids = {512, 600, 767, 512, 700, 701, 702, 703};
    TestMatrix<float> out(rank.exchange->OwnedRows(kTokens).size(), 12);
    const int64_t sent = Sent(
        rank.bytes.gather, [&] { return rank.exchange->EmbedRows(table.view(), 1024, ids, {}, out.view()); });
    EXPECT_EQ(sent, rank.group.rank() == 2 ? Pick(3 * 8 * 24, 6 * 24) : 0);
  });
}

INSTANTIATE_TEST_SUITE_P(Steps, WireBytesTest, testing::Values(0, 16));

TEST(WireBytes, ARankAloneSendsNothing) {
  const std::unique_ptr<Communicator> solo = MakeSoloCommunicator();
  ExchangeRank rank(*solo, 0);
  for (const int64_t tokens : StepSizes(1)) CheckExchanges(rank, tokens);
  EXPECT_EQ(rank.bytes.reduce + rank.bytes.gather + rank.bytes.pipeline, 0);
}

// What a caller does for a recorded step: the second run's bytes are those of the first.
TEST(WireBytes, GrowByWhatWasCounted) {
  WireBytes bytes;
  bytes.Add({1, 20, 300});
  const WireCount before = bytes.Read();
  bytes.reduce += 4;
  bytes.pipeline += 5;
  const WireCount step = bytes.Read() - before;
  EXPECT_EQ(step, (WireCount{4, 0, 5}));
  bytes.Add(step);
  EXPECT_EQ(bytes.Read(), (WireCount{9, 20, 310}));
}

}  // namespace
}  // namespace ternion
