// Logits and embedding rows of all ranks, through the peers' memory.
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "tests/parallel/mpi/peer_fixture.h"

namespace ternion {
namespace {

class PeerGatherTest : public PeerTest {};

// Every bit, of empty words too; more rows than a section of an inbox holds go in slices.
TEST_F(PeerGatherTest, GatherLogits) {
  uint32_t seed = 1;
  for (const int64_t most : {4, 64, 252, 256, 1000, 16128, 64128}) {
    for (const int64_t tokens : {1, 5, 64}) {
      std::vector<int64_t> columns;
      for (int r = 0; r < size(); ++r) columns.push_back(r % 2 == 0 ? most : most / 8 * 4);
      const int64_t width = std::accumulate(columns.begin(), columns.end(), int64_t{0});
      std::minstd_rand random(++seed);
      std::vector<float> rows(tokens * width);
      for (size_t i = 0; i < rows.size(); ++i) {
        const uint32_t bits = i / 40 % 3 == 0 ? 0x80000000u : static_cast<uint32_t>(random()) * 2;
        std::memcpy(&rows[i], &bits, sizeof(bits));
      }
      const int64_t begin = std::accumulate(columns.begin(), columns.begin() + rank(), int64_t{0});
      std::vector<float> own;
      for (int64_t t = 0; t < tokens; ++t) {
        const auto first = rows.begin() + t * width + begin;
        own.insert(own.end(), first, first + columns[rank()]);
      }
      const DeviceMatrix<float> mine(backend(), tokens, columns[rank()], own), all(backend(), tokens, width);
      ASSERT_TRUE(peers_->TakesColumns(columns));
      Wander();
      ASSERT_TRUE(ranks_->GatherLogits(mine, columns, all).ok());
      const std::vector<float> got = all.Read();
      ASSERT_EQ(std::memcmp(got.data(), rows.data(), rows.size() * sizeof(float)), 0)
          << tokens << " x " << most;
    }
  }
  ASSERT_TRUE(ranks_->Health().ok());
}

// Rows of every member's part, by ids that the host knows and by such as only the device does.
TEST_F(PeerGatherTest, EmbedRows) {
  constexpr int64_t kVocab = 256 * 5 + 36;
  for (const int64_t h : {30, 2560}) {
    const std::vector<BFloat16> table = RandomBf16(kVocab * h, 3);
    const Range part = SplitEvenly(kVocab, 256, size(), rank());
    const DeviceMatrix<BFloat16> mine(backend(), part.size(), h, RowsOf(table, part, h));
    EXPECT_EQ(ranks_->TakesDrawn(), h != 30) << "a table was opened before";
    ASSERT_TRUE(ranks_
                    ->OpenTable(mine, kVocab,
                                [&](std::string_view text) { return TestSession().AllGatherStrings(text); })
                    .ok());
    ASSERT_TRUE(ranks_->TakesDrawn());
    for (const int64_t tokens : {1, 16, 700}) {
      std::minstd_rand random(static_cast<uint32_t>(tokens));
      std::vector<int32_t> ids, drawn(8), asked;
      for (int32_t& id : drawn) id = static_cast<int32_t>(random() % kVocab);
      for (int64_t t = 0; t < tokens; ++t) {
        const bool known = random() % 2 == 0;
        asked.push_back(static_cast<int32_t>(known ? random() % kVocab : ~(random() % drawn.size())));
        ids.push_back(known ? asked.back() : drawn[~asked.back()]);
      }
      const Range owned = ranks_->OwnedRows(tokens);
      std::vector<float> want;
      for (int64_t t = owned.begin; t < owned.end; ++t) {
        for (int64_t i = 0; i < h; ++i) want.push_back(Widen(table[ids[t] * h + i]));
      }
      const DeviceMatrix<int32_t> on_device(backend(), 1, 8, drawn);
      const DeviceMatrix<float> out(backend(), owned.size(), h);
      ASSERT_TRUE(ranks_->EmbedRows(mine, kVocab, asked, on_device, out).ok());
      ASSERT_EQ(Different(out.Read(), want), 0) << tokens << " x " << h;
    }
    TestSession().AllGatherStrings("");  // the table goes when nobody reads it
  }
}

}  // namespace
}  // namespace ternion
