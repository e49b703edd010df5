#include <algorithm>
#include <cmath>
#include <map>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class SampleTest : public BackendTest {
 protected:
  // One id for each of `draws`, all from the same logits.
  std::vector<int32_t> Draw(const std::vector<float>& logits, const std::vector<SampleRow>& draws) {
    std::vector<float> rows;
    for (size_t i = 0; i < draws.size(); ++i) rows.insert(rows.end(), logits.begin(), logits.end());
    const auto n = static_cast<int64_t>(draws.size());
    const DeviceMatrix<float> table(backend(), n, static_cast<int64_t>(logits.size()), rows);
    const DeviceMatrix<int32_t> ids(backend(), 1, n);
    backend().Sample(table, draws, ids);
    return ids.Read();
  }

  // Shares of each id over evenly spread random numbers.
  std::map<int32_t, double> Shares(const std::vector<float>& logits, SampleRow how) {
    constexpr int kDraws = 2000;
    std::vector<SampleRow> draws(kDraws, how);
    for (int i = 0; i < kDraws; ++i) draws[i].uniform = (i + 0.5) / kDraws;
    std::map<int32_t, double> shares;
    for (int32_t id : Draw(logits, draws)) shares[id] += 1.0 / kDraws;
    return shares;
  }
};
INSTANTIATE_BACKEND_TEST(SampleTest);

TEST_P(SampleTest, GreedyTakesTheLowestOfEquals) {
  EXPECT_EQ(Draw({1, 5, 3, 5}, {{}, {0.7f, 1, 1.0f, 0.9}}), (std::vector<int32_t>{1, 1}));
}

TEST_P(SampleTest, FollowsTheSoftmaxAtTheTemperature) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f};
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    double sum = 0;
    for (float l : logits) sum += std::exp(static_cast<double>(l / temperature));
    auto shares = Shares(logits, {temperature, 0, 1.0f, 0});
    for (int32_t id = 0; id < 4; ++id) {
      EXPECT_NEAR(shares[id], std::exp(static_cast<double>(logits[id] / temperature)) / sum, 0.001);
    }
  }
}

TEST_P(SampleTest, TopKKeepsTheLowestIdsOfEquals) {
  const auto shares = Shares({1.0f, 2.0f, 1.0f, 1.0f, 0.0f}, {1.0f, 2, 1.0f, 0});
  EXPECT_EQ(shares.size(), 2u);
  EXPECT_TRUE(shares.count(0) && shares.count(1));
}

TEST_P(SampleTest, TopPKeepsTheFewestThatReachIt) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  EXPECT_EQ(Shares(logits, {1.0f, 0, 0.4f, 0}).size(), 1u);
  auto two = Shares(logits, {1.0f, 0, 0.79f, 0});
  EXPECT_EQ(two.size(), 2u);
  EXPECT_NEAR(two[0], 0.625, 0.001);
  EXPECT_EQ(Shares(logits, {1.0f, 0, 0.9f, 0}).size(), 3u);
}

TEST_P(SampleTest, TopPKeepsTheLowestIdsOfEquals) {
  const auto shares = Shares(std::vector<float>(10, -2.5f), {1.0f, 0, 0.35f, 0});
  ASSERT_EQ(shares.size(), 4u);
  EXPECT_EQ(shares.rbegin()->first, 3);
}

TEST_P(SampleTest, MinPDropsWhatWeighsLessThanAShareOfTheHeaviest) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.3f), std::log(0.2f)};
  EXPECT_EQ(Shares(logits, {1.0f, 0, 1.0f, 0, 0.2f}).size(), 4u);
  auto three = Shares(logits, {1.0f, 0, 1.0f, 0, 0.3f});
  EXPECT_EQ(three.size(), 3u);
  EXPECT_NEAR(three[1], 4.0 / 9, 0.001);
  EXPECT_NEAR(three[2], 3.0 / 9, 0.001);
  EXPECT_EQ(Shares(logits, {1.0f, 0, 1.0f, 0, 1.0f}).size(), 1u);
  // At a temperature of 2 a quarter of the likeliest is half of its weight.
  EXPECT_EQ(Shares(logits, {2.0f, 0, 1.0f, 0, 0.45f}).size(), 4u);
  EXPECT_EQ(Shares(logits, {2.0f, 0, 1.0f, 0, 0.55f}).size(), 3u);
}

TEST_P(SampleTest, MinPComesAfterTopKAndTopP) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.3f), std::log(0.2f)};
  EXPECT_EQ(Shares(logits, {1.0f, 2, 1.0f, 0, 0.3f}).size(), 2u);
  EXPECT_EQ(Shares(logits, {1.0f, 0, 0.6f, 0, 0.3f}).size(), 2u);
  EXPECT_EQ(Shares(logits, {1.0f, 0, 0.95f, 0, 0.6f}).size(), 2u);
}

TEST_P(SampleTest, AForbiddenColumnIsNeverDrawn) {
  const std::vector<float> logits = {-INFINITY, 1.0f, -INFINITY, 1.0f, -INFINITY};
  for (const auto& how : std::vector<SampleRow>{
           {1.0f, 0, 1.0f, 0}, {0.1f, 4, 1.0f, 0}, {5.0f, 0, 0.999f, 0}, {1.0f, 0, 1.0f, 0, 0.01f}}) {
    const auto shares = Shares(logits, how);
    EXPECT_EQ(shares.size(), 2u);
    EXPECT_TRUE(shares.count(1) && shares.count(3));
  }
  EXPECT_EQ(Draw(logits, {{0.0f, 0, 1.0f, 0.5}}), (std::vector<int32_t>{1}));
}

// A row of a real vocabulary: what is kept is what sorting says, and the drawn id stands where the random number
// points among the kept.
TEST_P(SampleTest, AgreesWithSortingOnALargeVocabulary) {
  constexpr int64_t kVocab = 33000;
  const std::vector<float> logits = RandomFloats(kVocab, 3, 2.5f);
  std::vector<int32_t> order(kVocab);
  for (int64_t i = 0; i < kVocab; ++i) order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  for (const auto& [top_k, top_p] :
       {std::pair{0, 1.0f}, {50, 1.0f}, {0, 0.6f}, {700, 0.8f}, {1 << 20, 0.999f}}) {
    std::vector<int32_t> kept(order.begin(),
                              order.begin() + (top_k == 0 ? kVocab : std::min<int64_t>(top_k, kVocab)));
    const auto weight = [&](int32_t id) {
      return std::exp((double{logits[id]} - double{logits[order[0]]}) / 0.8);
    };
    double total = 0;
    for (int32_t id : kept) total += weight(id);
    double reached = 0;
    size_t count = 0;
    while (count < kept.size() && reached < double{top_p} * total) reached += weight(kept[count++]);
    kept.resize(count);
    std::sort(kept.begin(), kept.end());
    const std::vector<double> uniforms = {0.0, 0.1, 0.37, 0.5, 0.9, 0.99999};
    std::vector<SampleRow> draws;
    for (double uniform : uniforms) draws.push_back({0.8f, top_k, top_p, uniform});
    const std::vector<int32_t> got = Draw(logits, draws);
    double kept_weight = 0;
    for (int32_t id : kept) kept_weight += weight(id);
    for (size_t i = 0; i < uniforms.size(); ++i) {
      double passed = 0;
      size_t at = 0;
      while (at + 1 < kept.size() && (passed += weight(kept[at])) <= uniforms[i] * kept_weight) ++at;
      EXPECT_EQ(got[i], kept[at]) << "top_k " << top_k << ", top_p " << top_p << ", uniform " << uniforms[i];
    }
  }
}

TEST_P(SampleTest, RowsDoNotSeeEachOther) {
  const std::vector<float> logits = RandomFloats(3000, 9);
  std::vector<SampleRow> draws;
  for (int i = 0; i < 40; ++i)
    draws.push_back({0.5f + 0.1f * static_cast<float>(i % 5), i % 3 * 20, 0.9f, i / 40.0});
  const std::vector<int32_t> together = Draw(logits, draws);
  for (size_t i = 0; i < draws.size(); ++i) EXPECT_EQ(Draw(logits, {draws[i]})[0], together[i]) << i;
}

}  // namespace
}  // namespace ternion
