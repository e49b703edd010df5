#include "parallel/sharding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <string>

#include "parallel/process_grid.h"

namespace ternion {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelShape Shape2b() {
  return {.hidden = 2560,
          .ffn = 6912,
          .layers = 30,
          .heads = 20,
          .kv_heads = 5,
          .head_dim = 128,
          .vocab = 128256};
}

TEST(SplitEvenly, GivesEveryUnitToThePartOfItsShare) {
  for (const int64_t n : {0, 1, 7, 256, 1000, 4096}) {
    for (const int64_t unit : {1, 3, 32, 256}) {
      for (const int parts : {1, 2, 3, 8, 40}) {
        const int64_t units = (n + unit - 1) / unit;
        for (int64_t item = 0; item < n; ++item) {
          const auto owner = static_cast<int>((item / unit) * parts / units);
          const Range range = SplitEvenly(n, unit, parts, owner);
          ASSERT_LE(range.begin, item) << n << " " << unit << " " << parts;
          ASSERT_GT(range.end, item) << n << " " << unit << " " << parts;
        }
      }
    }
  }
}

TEST(SplitEvenly, PartsAdjoinAndDifferByOneUnitAtMost) {
  for (const int parts : {1, 2, 3, 7, 300}) {
    int64_t next = 0;
    std::set<int64_t> sizes;
    for (int part = 0; part < parts; ++part) {
      const Range range = SplitEvenly(5000, 20, parts, part);
      EXPECT_EQ(range.begin, next);
      next = range.end;
      sizes.insert(range.size());
    }
    EXPECT_EQ(next, 5000);
    EXPECT_LE(*sizes.rbegin() - *sizes.begin(), 20);
  }
}

TEST(ShardLayer, RanksTileTheModelAndStoreTheKvHeadsTheyRead) {
  const ModelShape shape = Shape2b();
  for (const int tp : WorkingTp(shape, 20)) {
    int64_t attention = 0;
    int64_t ffn = 0;
    int64_t vocab = 0;
    for (int rank = 0; rank < tp; ++rank) {
      const LayerShard shard = ShardLayer(shape, tp, rank);
      EXPECT_EQ(shard.attention.begin, attention);
      EXPECT_EQ(shard.ffn.begin, ffn);
      EXPECT_EQ(shard.vocab.begin, vocab);
      EXPECT_EQ(shard.ffn.begin % shard.ffn_segment, 0);
      EXPECT_EQ(shard.attention.size(), shard.heads.query_heads * 128);
      attention = shard.attention.end;
      ffn = shard.ffn.end;
      vocab = shard.vocab.end;
      for (int q = 0; q < shard.heads.query_heads; ++q) {
        const int kv_of_model = (shard.heads.query_begin + q) / 4;
        EXPECT_EQ(shard.heads.kv_begin + shard.heads.LocalKv(q), kv_of_model);
        EXPECT_LT(shard.heads.LocalKv(q), shard.heads.kv_heads);
        EXPECT_GE(shard.heads.LocalKv(q), 0);
      }
    }
    EXPECT_EQ(attention, 20 * 128);
    EXPECT_EQ(ffn, 6912);
    EXPECT_EQ(vocab, 128256);
  }
}

TEST(ShardLayer, KvHeadsThatTwoRanksReadAreStoredTwice) {
  const LayerShard second = ShardLayer(Shape2b(), 4, 1);
  EXPECT_EQ(second.heads.query_begin, 5);
  EXPECT_EQ(second.heads.query_heads, 5);
  EXPECT_EQ(second.heads.kv_begin, 1);
  EXPECT_EQ(second.heads.kv_heads, 2);
  EXPECT_EQ(second.attention_segment, 32);
  EXPECT_EQ(second.ffn_segment, 32);
}

TEST(CheckSharding, NamesTheTpThatWork) {
  ModelShape shape = Shape2b();
  shape.heads = 10;
  const absl::Status status = CheckSharding(shape, 4, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "10 heads cannot be split over tp 4; tp 1, 2, 5, 10 work");
}

TEST(CheckSharding, NeedsAnFfnSegmentForEveryRank) {
  ModelShape shape = Shape2b();
  shape.ffn = 96;
  EXPECT_TRUE(CheckSharding(shape, 2, 1).ok());
  const absl::Status status = CheckSharding(shape, 4, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("96 FFN channels are 3 segments of 32"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("tp 1, 2 work"));
}

TEST(CheckSharding, RefusesMoreStagesThanLayers) {
  EXPECT_TRUE(CheckSharding(Shape2b(), 1, 30).ok());
  const absl::Status status = CheckSharding(Shape2b(), 1, 31);
  EXPECT_EQ(status.message(), "30 layers cannot be split over pp 31; pp 1 to 30 work");
}

TEST(CheckSharding, RefusesNumbersBelowOne) {
  EXPECT_EQ(CheckSharding(Shape2b(), 0, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckSharding(Shape2b(), 1, -1).code(), absl::StatusCode::kInvalidArgument);
}

TEST(WorkingTp, ListsTheDivisorsUpToTheLimit) {
  EXPECT_THAT(WorkingTp(Shape2b(), 8), ElementsAre(1, 2, 4, 5));
  EXPECT_THAT(WorkingTp(Shape2b(), 100), ElementsAre(1, 2, 4, 5, 10, 20));
}

ModelShape Shape70b() { return {8192, 28672, 80, 64, 8, 128, 128256}; }

TEST(StageLayers, CoverTheModelInOrder) {
  for (const ModelShape& shape : {Shape2b(), Shape70b(), ModelShape{64, 128, 5, 4, 2, 16, 300}}) {
    for (int pp = 1; pp <= shape.layers; ++pp) {
      int64_t next = 0;
      for (int stage = 0; stage < pp; ++stage) {
        const Range range = StageLayers(shape, pp, stage);
        EXPECT_EQ(range.begin, next);
        EXPECT_GE(range.size(), 1) << "stage " << stage << " of " << pp;
        next = range.end;
      }
      EXPECT_EQ(next, shape.layers);
    }
  }
}

// The head of the 70B shape reads as much as 9.7 layers; that of the 2B as much as 38, more than can be made up for.
TEST(StageLayers, TheLastStageHasFewerForTheHead) {
  EXPECT_EQ(StageLayers(Shape70b(), 2, 0), (Range{0, 45}));
  EXPECT_EQ(StageLayers(Shape70b(), 4, 3), (Range{65, 80}));
  EXPECT_EQ(StageLayers(Shape2b(), 2, 1), (Range{18, 30}));
}

TEST(CheckWorld, WantsTpTimesPpRanks) {
  EXPECT_TRUE(CheckWorld(6, 3, 2).ok());
  const absl::Status status = CheckWorld(3, 2, 2);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "the job has 3 ranks, but tp 2 times pp 2 needs 4: start it with mpirun -np 4");
  EXPECT_EQ(CheckWorld(0, 0, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckWorld(0, 65536, 65536).code(), absl::StatusCode::kInvalidArgument);
}

TEST(ProcessGrid, RanksOfAGroupAreNeighbours) {
  const ProcessGrid grid = {.tp = 4, .pp = 3, .rank = 6};
  EXPECT_EQ(grid.stage(), 1);
  EXPECT_EQ(grid.tp_rank(), 2);
  EXPECT_EQ(grid.RankOf(1, 2), 6);
  EXPECT_EQ(grid.sampler_rank(), 8);
  EXPECT_FALSE(grid.first_stage());
  EXPECT_FALSE(grid.last_stage());
}

}  // namespace
}  // namespace ternion
