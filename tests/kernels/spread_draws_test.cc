// Draws from rows whose columns are spread over devices: the ids that Sample draws from the whole rows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/backends.h"

namespace ternion {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr Candidate kNone = {kNever, 0};

class SpreadDrawsTest : public BackendTest {
 protected:
  // Columns [begin, end) of every row.
  std::vector<float> Shard(int64_t begin, int64_t end) const {
    std::vector<float> shard;
    for (int64_t t = 0; t < rows_; ++t) {
      const auto row = logits_.begin() + t * cols_;
      shard.insert(shard.end(), row + begin, row + end);
    }
    return shard;
  }
  void Fill(int64_t rows, int64_t cols, uint32_t seed) {
    rows_ = rows;
    cols_ = cols;
    logits_ = RandomFloats(rows * cols, seed, 2.5f);
    // Equal ones on both sides of every border, some that are the row's largest, and some that are forbidden.
    for (int64_t i = 0; i < rows * cols; i += 37) logits_[i] = i % 2 == 0 ? 1.5f : kNever;
    for (int64_t t = 0; t < rows; t += 3) logits_[t * cols + cols / 3] = logits_[t * cols + cols - 2] = 20;
  }

  std::vector<int32_t> DrawWhole(const std::vector<SampleRow>& draws) {
    const DeviceMatrix<float> table(backend(), rows_, cols_, logits_);
    const DeviceMatrix<int32_t> ids(backend(), 1, rows_);
    backend().Sample(table, draws, ids);
    return ids.Read();
  }

  // Lists of all devices side by side; device r has columns [borders[r], borders[r + 1]).
  std::vector<Candidate> Lists(const std::vector<int64_t>& borders, const std::vector<int32_t>& counts,
                               int64_t k) {
    const auto devices = static_cast<int64_t>(borders.size()) - 1;
    std::vector<Candidate> all(rows_ * devices * k);
    for (int64_t r = 0; r < devices; ++r) {
      const int64_t cols = borders[r + 1] - borders[r];
      const DeviceMatrix<float> table(backend(), rows_, cols, Shard(borders[r], borders[r + 1]));
      const DeviceMatrix<Candidate> list(backend(), rows_, k);
      backend().Shortlist(table, borders[r], counts, list);
      const std::vector<Candidate> read = list.Read();
      for (int64_t t = 0; t < rows_; ++t) {
        std::copy_n(read.begin() + t * k, k, all.begin() + (t * devices + r) * k);
      }
    }
    return all;
  }

  std::vector<int32_t> SampleLists(const std::vector<Candidate>& lists, const std::vector<SampleRow>& draws) {
    const DeviceMatrix<Candidate> table(backend(), rows_, static_cast<int64_t>(lists.size()) / rows_, lists);
    const DeviceMatrix<int32_t> ids(backend(), 1, rows_);
    backend().SampleListed(table, draws, ids);
    return ids.Read();
  }

  std::vector<int32_t> DrawSpread(const std::vector<int64_t>& borders, const std::vector<SampleRow>& draws,
                                  const std::vector<int32_t>& given);

  int64_t rows_ = 0;
  int64_t cols_ = 0;
  std::vector<float> logits_;
};
INSTANTIATE_BACKEND_TEST(SpreadDrawsTest);

std::vector<int32_t> SpreadDrawsTest::DrawSpread(const std::vector<int64_t>& borders,
                                                 const std::vector<SampleRow>& draws,
                                                 const std::vector<int32_t>& given) {
  const size_t devices = borders.size() - 1;
  const std::vector<Candidate> lists = Lists(borders, std::vector<int32_t>(rows_, 1), 2);
  const DeviceMatrix<Candidate> all_lists(backend(), rows_, 2 * static_cast<int64_t>(devices), lists);
  const DeviceMatrix<int32_t> ids(backend(), 1, rows_, given);
  std::vector<int64_t> first_segment = {0};
  std::vector<std::vector<uint64_t>> sums;
  for (size_t r = 0; r < devices; ++r) {
    const int64_t cols = borders[r + 1] - borders[r];
    const int64_t segments =
        (cols + kVocabSegment - 1) / kVocabSegment + static_cast<int64_t>(r % 2);  // some pad
    const DeviceMatrix<float> table(backend(), rows_, cols, Shard(borders[r], borders[r + 1]));
    const DeviceMatrix<uint64_t> own(backend(), rows_, segments);
    backend().WeighSegments(table, all_lists, draws, own);
    sums.push_back(own.Read());
    first_segment.push_back(first_segment.back() + segments);
  }
  std::vector<uint64_t> joined;
  for (int64_t t = 0; t < rows_; ++t) {
    for (size_t r = 0; r < devices; ++r) {
      const int64_t segments = first_segment[r + 1] - first_segment[r];
      joined.insert(joined.end(), sums[r].begin() + t * segments, sums[r].begin() + (t + 1) * segments);
    }
  }
  const DeviceMatrix<uint64_t> all_sums(backend(), rows_, first_segment.back(), joined);
  std::vector<int32_t> columns(rows_, -1);
  for (size_t r = 0; r < devices; ++r) {
    const int64_t cols = borders[r + 1] - borders[r];
    const DeviceMatrix<float> table(backend(), rows_, cols, Shard(borders[r], borders[r + 1]));
    const DeviceMatrix<Candidate> found(backend(), rows_, 2);
    backend().DrawSpread(table, borders[r], all_lists, all_sums, first_segment[r], draws, ids, found);
    const std::vector<Candidate> read = found.Read();
    for (int64_t t = 0; t < rows_; ++t) {
      EXPECT_EQ(read[2 * t + 1].logit, kNever);
      if (read[2 * t].logit == kNever) continue;
      EXPECT_EQ(read[2 * t].logit, 0);
      const bool first = columns[t] < 0 || draws[t].takes_largest();
      EXPECT_TRUE(first) << "two devices have found row " << t;
      columns[t] = read[2 * t].column;
    }
  }
  return columns;
}

TEST_P(SpreadDrawsTest, AShortlistIsTheLargestByColumn) {
  rows_ = 3;
  cols_ = 5;
  logits_ = {1, 4, 4, 2, 4, 5, -1, -0.0f, 0, -2, kNever, kNever, 3, kNever, 3};
  EXPECT_EQ(
      Lists({0, 5}, {2, 3, 1}, 4),
      (std::vector<Candidate>{
          {4, 1}, {4, 2}, kNone, kNone, {5, 0}, {-0.0f, 2}, {0, 3}, kNone, {3, 2}, kNone, kNone, kNone}));
}

TEST_P(SpreadDrawsTest, AShortlistMayTakeAllColumns) {
  rows_ = 1;
  cols_ = 3;
  logits_ = {2, kNever, 1};
  EXPECT_EQ(Lists({0, 3}, {3}, 3), (std::vector<Candidate>{{2, 0}, {kNever, 1}, {1, 2}}));
}

// Where devices' columns begin and end; shares of a few columns and of many, each at least as long as the longest list.
const std::vector<std::vector<int64_t>> kBorders = {{0, 256, 700}, {0, 256, 33000}, {0, 11008, 22016, 33000}};

TEST_P(SpreadDrawsTest, TheLargestAreFoundFromLists) {
  for (const std::vector<int64_t>& borders : kBorders) {
    Fill(24, borders.back(), 5);
    const std::vector<int32_t> counts(rows_, 1);
    const std::vector<SampleRow> draws(rows_);
    EXPECT_EQ(SampleLists(Lists(borders, counts, 2), draws), DrawWhole(draws)) << borders.back();
  }
}

TEST_P(SpreadDrawsTest, TopKIsDrawnFromLists) {
  for (const std::vector<int64_t>& borders : kBorders) {
    Fill(60, borders.back(), 6);
    std::vector<SampleRow> draws;
    std::vector<int32_t> counts;
    for (int64_t t = 0; t < rows_; ++t) {
      const int32_t top_k = std::vector<int32_t>{1, 2, 5, 40, 200}[t % 5];
      draws.push_back({0.3f + 0.2f * static_cast<float>(t % 7), top_k, t % 3 == 0 ? 0.8f : 1.0f,
                       static_cast<double>(t) / static_cast<double>(rows_), t % 4 == 1 ? 0.02f : 0.0f});
      counts.push_back(top_k);
    }
    EXPECT_EQ(SampleLists(Lists(borders, counts, 200), draws), DrawWhole(draws)) << borders.back();
  }
}

TEST_P(SpreadDrawsTest, AllColumnsAreDrawnFromWeights) {
  std::vector<std::vector<int64_t>> cases = kBorders;
  cases.push_back({0, 300});
  cases.push_back({0, 256, 300});
  for (const std::vector<int64_t>& borders : cases) {
    Fill(60, borders.back(), 7);
    std::vector<SampleRow> draws;
    for (int64_t t = 0; t < rows_; ++t) {
      const double uniform = std::fmod(0.377 * static_cast<double>(t), 1.0);
      draws.push_back({0.3f + 0.5f * static_cast<float>(t % 7), 0, 1.0f, uniform, t % 4 == 1 ? 0.02f : 0.0f});
    }
    draws[8].uniform = 1 - 0x1p-53;
    EXPECT_EQ(DrawSpread(borders, draws, std::vector<int32_t>(rows_)), DrawWhole(draws)) << borders.back();
  }
}

TEST_P(SpreadDrawsTest, RowsThatTakeTheLargestKeepTheirIds) {
  Fill(6, 600, 8);
  std::vector<SampleRow> draws(rows_);
  draws[2] = draws[5] = {1.0f, 0, 1.0f, 0.5};
  const std::vector<int32_t> want = DrawWhole(draws);
  EXPECT_EQ(DrawSpread({0, 256, 600}, draws, {10, 11, 12, 13, 14, 15}),
            (std::vector<int32_t>{10, 11, want[2], 13, 14, want[5]}));
}

}  // namespace
}  // namespace ternion
