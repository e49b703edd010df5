#include "runtime/model/draws.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

#include "tests/support/backends.h"
#include "tests/support/rank_threads.h"

namespace ternion {
namespace {

struct Case {
  int ranks;
  int64_t vocab;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.ranks << " ranks, " << c.vocab << " columns"; }

class DrawsTest : public testing::TestWithParam<Case> {};

SampleRow RandomDraw(std::mt19937& random, int kinds) {
  SampleRow how;
  const auto kind = static_cast<int>(random() % static_cast<unsigned>(kinds));
  if (kind == 0) return how;
  how.temperature = 0.2f + 0.1f * static_cast<float>(random() % 20);
  how.uniform = static_cast<double>(random()) / 4294967296.0;
  if (kind == 1) how.top_k = 1 + static_cast<int32_t>(random() % 60);
  if (kind == 1 || kind == 3) how.top_p = random() % 2 == 0 ? 1.0f : 0.7f;
  if (kind <= 2 && random() % 2 == 0) how.min_p = 0.01f;
  if (kind == 3) how.top_k = random() % 2 == 0 ? 5000 : 0;
  return how;
}

// Whatever stands together in a call, every row gets the id that is drawn from it whole.
TEST_P(DrawsTest, AreThoseOfWholeRows) {
  const auto [ranks, vocab] = GetParam();
  constexpr int64_t kMost = 64;
  RunRanks(ranks, [&, count = ranks, columns = vocab](Communicator& group) {
    const std::unique_ptr<Backend> backend = MakeCpuBackend(1);
    WireBytes counters;
    auto tensor_parallel = TensorParallel::Create(backend.get(), &group, &counters, kMost, columns);
    ASSERT_TRUE(tensor_parallel.ok());
    std::vector<int64_t> shares;
    for (int r = 0; r < count; ++r) shares.push_back(SplitEvenly(columns, kVocabSegment, count, r).size());
    auto draws = Draws::Create(*backend, **tensor_parallel, shares, kMost);
    ASSERT_TRUE(draws.ok()) << draws.status();
    const Range own = SplitEvenly(columns, kVocabSegment, count, group.rank());
    std::mt19937 random(17);  // the same on every rank
    for (int round = 0; round < 24; ++round) {
      const auto rows = static_cast<int64_t>(1 + random() % kMost);
      std::vector<float> logits = RandomFloats(rows * columns, static_cast<uint32_t>(round), 3), shard;
      for (size_t i = 0; i < logits.size(); i += 11)
        logits[i] = i % 2 == 0 ? 6.0f : -std::numeric_limits<float>::infinity();
      std::vector<SampleRow> how;
      for (int64_t t = 0; t < rows; ++t) {
        how.push_back(RandomDraw(random, 1 + round % 4));
        shard.insert(shard.end(), logits.begin() + t * columns + own.begin,
                     logits.begin() + t * columns + own.end);
      }
      const DeviceMatrix<float> whole(*backend, rows, columns, logits),
          mine(*backend, rows, own.size(), shard);
      const DeviceMatrix<int32_t> want(*backend, 1, rows), got(*backend, 1, rows);
      backend->Sample(whole, how, want);
      ASSERT_TRUE((*draws)->Draw(mine, how, got).ok());
      ASSERT_EQ(got.Read(), want.Read()) << "round " << round;
    }
  });
}
INSTANTIATE_TEST_SUITE_P(, DrawsTest,
                         testing::Values(Case{1, 1000}, Case{2, 1000}, Case{4, 1000}, Case{3, 4096},
                                         Case{8, 4099}, Case{5, 1000}),  // one has no column
                         [](const auto& test) {
                           return "ranks" + std::to_string(test.param.ranks) + "of" +
                                  std::to_string(test.param.vocab);
                         });

// What travels: whole rows only for those that need them.
TEST(Draws, GatherNoMoreThanTheyNeed) {
  constexpr int64_t kVocab = 8192, kRows = 16;
  RunRanks(2, [&](Communicator& group) {
    const std::unique_ptr<Backend> backend = MakeCpuBackend(1);
    WireBytes counters;
    auto tensor_parallel = TensorParallel::Create(backend.get(), &group, &counters, kRows, kVocab);
    ASSERT_TRUE(tensor_parallel.ok());
    auto draws = Draws::Create(*backend, **tensor_parallel, {kVocab / 2, kVocab / 2}, kRows);
    ASSERT_TRUE(draws.ok()) << draws.status();
    const DeviceMatrix<float> mine(*backend, kRows, kVocab / 2, RandomFloats(kRows * kVocab / 2, 1));
    const DeviceMatrix<int32_t> ids(*backend, 1, kRows);
    const auto bytes_of_a_row = [&](const std::vector<SampleRow>& how) {
      const int64_t before = counters.gather;
      EXPECT_TRUE((*draws)->Draw(mine, how, ids).ok());
      return (counters.gather - before) / kRows;
    };
    const SampleRow top_k{1, 40, 0.9f, 0.5}, all{1, 0, 1, 0.5, 0.1f}, top_p{1, 0, 0.9f, 0.5};
    EXPECT_EQ(bytes_of_a_row(std::vector<SampleRow>(kRows)), 2 * 8);
    EXPECT_EQ(bytes_of_a_row(std::vector<SampleRow>(kRows, top_k)), 40 * 8);
    EXPECT_EQ(bytes_of_a_row(std::vector<SampleRow>(kRows, all)), (2 + 16 + 2) * 8);
    EXPECT_EQ(bytes_of_a_row(std::vector<SampleRow>(kRows, top_p)), kVocab / 2 * 4);
    std::vector<SampleRow> one_whole(kRows);
    one_whole[3] = top_p;
    EXPECT_EQ(bytes_of_a_row(one_whole), (kVocab / 2 * 4 + kRows * 16) / kRows);
  });
}

}  // namespace
}  // namespace ternion
