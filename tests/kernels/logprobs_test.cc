#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/backends.h"

namespace ternion {
namespace {

struct Told {
  std::vector<int32_t> top_ids;  // [rows, k]
  std::vector<float> logprobs;   // [rows, 1 + k]
};

class LogprobsTest : public BackendTest {
 protected:
  Told Tell(const std::vector<float>& logits, const std::vector<int32_t>& ids,
            const std::vector<LogprobRow>& rows, int64_t k) {
    const auto count = static_cast<int64_t>(ids.size()), asked = static_cast<int64_t>(rows.size());
    const DeviceMatrix<float> table(backend(), count, static_cast<int64_t>(logits.size()) / count, logits);
    const DeviceMatrix<int32_t> drawn(backend(), 1, count, ids), top_ids(backend(), asked, k);
    const DeviceMatrix<float> logprobs(backend(), asked, 1 + k);
    backend().Logprobs(table, rows, drawn, top_ids, logprobs);
    return {top_ids.Read(), logprobs.Read()};
  }
};
INSTANTIATE_BACKEND_TEST(LogprobsTest);

TEST_P(LogprobsTest, OfTheDrawnColumnOrOfANamedOne) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f),
                                     std::log(0.1f), std::log(0.1f), std::log(0.8f)};
  const Told told = Tell(logits, {2, 0}, {{1, -1}, {0, -1}, {0, 0}}, 0);
  ExpectClose(told.logprobs, {std::log(0.1f), std::log(0.2f), std::log(0.5f)}, 1e-6f);
}

TEST_P(LogprobsTest, OfEqualLogitsTheLowerColumnComesFirst) {
  EXPECT_EQ(Tell({1, 3, 3, 0, 3, -0.0f}, {0}, {{0, -1}}, 6).top_ids,
            (std::vector<int32_t>{1, 2, 4, 0, 3, 5}));
}

TEST_P(LogprobsTest, AForbiddenColumnHasNone) {
  const Told told = Tell({0, -INFINITY, 0, -INFINITY}, {1}, {{0, -1}}, 3);
  EXPECT_EQ(told.top_ids, (std::vector<int32_t>{0, 2, 1}));
  EXPECT_EQ(told.logprobs[0], -INFINITY);
  EXPECT_EQ(told.logprobs[3], -INFINITY);
}

// Large logits and a real vocabulary against sorting and long double.
TEST_P(LogprobsTest, AgreesWithSortingOnALargeVocabulary) {
  constexpr int64_t kVocab = 33000, kMost = 20;
  std::vector<float> logits = RandomFloats(2 * kVocab, 8, 4);
  for (int64_t i = 0; i < kVocab; ++i) logits[i] += 1000.0f;
  const Told told = Tell(logits, {123, 32999}, {{0, -1}, {1, -1}}, kMost);
  for (int64_t t = 0; t < 2; ++t) {
    const float* const row = logits.data() + t * kVocab;
    std::vector<int32_t> order(kVocab);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[a] > row[b]; });
    long double sum = 0;
    for (int64_t i = 0; i < kVocab; ++i) sum += std::exp(static_cast<long double>(row[i]) - row[order[0]]);
    const auto logprob = [&](int32_t id) {
      return static_cast<float>(static_cast<long double>(row[id]) - row[order[0]] - std::log(sum));
    };
    const float* const got = told.logprobs.data() + t * (1 + kMost);
    EXPECT_NEAR(got[0], logprob(t == 0 ? 123 : 32999), 1e-5f);
    for (int64_t i = 0; i < kMost; ++i) {
      EXPECT_EQ(told.top_ids[t * kMost + i], order[i]);
      EXPECT_NEAR(got[1 + i], logprob(order[i]), 1e-5f);
    }
  }
}

TEST_P(LogprobsTest, RowsDoNotSeeEachOther) {
  constexpr int64_t kVocab = 3000, kRows = 40, kMost = 5;
  const std::vector<float> logits = RandomFloats(kRows * kVocab, 2);
  std::vector<int32_t> ids(kRows);
  std::iota(ids.begin(), ids.end(), 7);
  std::vector<LogprobRow> rows;
  for (int32_t t = 0; t < kRows; ++t) rows.push_back({t, -1});
  const Told together = Tell(logits, ids, rows, kMost);
  for (int64_t t = 0; t < kRows; ++t) {
    const std::vector<float> row(logits.begin() + t * kVocab, logits.begin() + (t + 1) * kVocab);
    const Told alone = Tell(row, {ids[t]}, {{0, -1}}, kMost);
    EXPECT_TRUE(
        std::equal(alone.logprobs.begin(), alone.logprobs.end(), together.logprobs.begin() + t * (1 + kMost)))
        << t;
  }
}

}  // namespace
}  // namespace ternion
