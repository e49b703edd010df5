#include "runtime/cache/block_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/cache/sequence_blocks.h"

namespace ternion {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<int32_t> Ramp(int64_t count, int32_t first = 0) {
  std::vector<int32_t> tokens(count);
  for (int64_t i = 0; i < count; ++i) tokens[i] = first + static_cast<int32_t>(i);
  return tokens;
}

// A sequence whose tokens are all in the cache.
SequenceBlocks Compute(BlockPool& pool, const std::vector<int32_t>& tokens) {
  SequenceBlocks blocks;
  EXPECT_FALSE(blocks.Share(pool, pool.Find(tokens)).has_value());
  EXPECT_TRUE(blocks.Grow(pool, BlocksFor(static_cast<int64_t>(tokens.size()))));
  blocks.Remember(pool, tokens);
  return blocks;
}

TEST(BlockPool, GivesEachBlockToOneHolder) {
  BlockPool pool(3, true);
  std::vector<int32_t> taken;
  while (pool.available() > 0) taken.push_back(pool.Take());
  EXPECT_THAT(taken, testing::UnorderedElementsAre(0, 1, 2));
  pool.Drop(1);
  EXPECT_EQ(pool.available(), 1);
  EXPECT_EQ(pool.Take(), 1);
}

TEST(BlockPool, ABlockStaysUntilItsLastHolderHasDroppedIt) {
  BlockPool pool(2, true);
  const int32_t block = pool.Take();
  pool.Hold(block);
  pool.Drop(block);
  EXPECT_TRUE(pool.is_held(block));
  EXPECT_EQ(pool.available(), 1);
  pool.Drop(block);
  EXPECT_EQ(pool.available(), 2);
}

TEST(BlockPoolDeathTest, RefusesToDropWhatNobodyHolds) {
  BlockPool pool(2, true);
  const int32_t block = pool.Take();
  pool.Drop(block);
  EXPECT_DEATH(pool.Drop(block), "once too often");
}

TEST(BlockPool, ForgetsWhatWasUnusedForLongestAndLeavesBeforeTheirParents) {
  BlockPool pool(4, true);
  SequenceBlocks a = Compute(pool, Ramp(128));
  SequenceBlocks b = Compute(pool, Ramp(128, 1000));
  a.DropAll(pool);
  b.DropAll(pool);
  EXPECT_EQ(pool.available(), 4);
  pool.Take();
  EXPECT_EQ(pool.Find(Ramp(128)).whole.size(), 1u);
  EXPECT_EQ(pool.Find(Ramp(128, 1000)).whole.size(), 2u);
  pool.Take();
  EXPECT_EQ(pool.Find(Ramp(128)).whole.size(), 0u);
  pool.Take();
  EXPECT_EQ(pool.Find(Ramp(128, 1000)).whole.size(), 1u);
}

TEST(BlockPool, WhatIsUsedAgainStaysLonger) {
  BlockPool pool(2, true);
  SequenceBlocks a = Compute(pool, Ramp(64));
  SequenceBlocks b = Compute(pool, Ramp(64, 1000));
  a.DropAll(pool);
  b.DropAll(pool);
  Compute(pool, Ramp(64)).DropAll(pool);
  pool.Take();
  EXPECT_EQ(pool.Find(Ramp(64)).whole.size(), 1u);
  EXPECT_EQ(pool.Find(Ramp(64, 1000)).whole.size(), 0u);
}

// What holds nothing goes before what may be found.
TEST(BlockPool, EmptyBlocksAreTakenFirst) {
  BlockPool pool(3, true);
  SequenceBlocks a = Compute(pool, Ramp(64));
  a.DropAll(pool);
  SequenceBlocks b;
  ASSERT_TRUE(b.Grow(pool, 2));
  b.DropAll(pool);
  pool.Take();
  pool.Take();
  EXPECT_EQ(pool.Find(Ramp(64)).whole.size(), 1u);
}

TEST(BlockPool, ForgetsAllWhenItDoesNotRemember) {
  BlockPool pool(3, false);
  SequenceBlocks a = Compute(pool, Ramp(128));
  EXPECT_THAT(pool.Find(Ramp(128)).whole, IsEmpty());
  a.DropAll(pool);
  EXPECT_EQ(pool.available(), 3);
  EXPECT_EQ(pool.Find(Ramp(128)).tokens(), 0);
}

TEST(SequenceBlocks, SharesWholeBlocksAndCopiesAPart) {
  BlockPool pool(8, true);
  SequenceBlocks a = Compute(pool, Ramp(128));
  SequenceBlocks b;
  const std::optional<BlockCopy> copy = b.Share(pool, pool.Find(Ramp(100)));
  ASSERT_TRUE(copy.has_value());
  EXPECT_EQ(copy->from, a.table()[1]);
  EXPECT_THAT(b.table(), ElementsAre(a.table()[0], copy->to));
  EXPECT_NE(copy->to, copy->from);
  EXPECT_EQ(pool.available(), 8 - 3);
  a.DropAll(pool);
  EXPECT_EQ(pool.available(), 8 - 2);
}

// Of blocks that nobody holds, not the one that is copied is taken.
TEST(SequenceBlocks, WhatIsCopiedStays) {
  BlockPool pool(2, true);
  SequenceBlocks a = Compute(pool, Ramp(64));
  SequenceBlocks b = Compute(pool, Ramp(64, 1000));
  a.DropAll(pool);
  b.DropAll(pool);
  SequenceBlocks c;
  EXPECT_TRUE(c.Share(pool, pool.Find(Ramp(30))).has_value());
  EXPECT_EQ(pool.Find(Ramp(64)).whole.size(), 1u);
}

// The last block there is may be the one that would be copied: it is the sequence's own then.
TEST(SequenceBlocks, TakesAPartOverWhenNoOtherBlockIsThere) {
  BlockPool pool(2, true);
  SequenceBlocks a = Compute(pool, Ramp(128));
  const std::vector<int32_t> table = a.table();
  a.DropAll(pool);
  SequenceBlocks b;
  EXPECT_FALSE(b.Share(pool, pool.Find(Ramp(100))).has_value());
  EXPECT_EQ(b.table(), table);
  EXPECT_EQ(pool.available(), 0);
  EXPECT_EQ(pool.Find(Ramp(128)).part, PrefixTree::kNone) << "its other tokens will be overwritten";
}

TEST(SequenceBlocks, EqualBlocksBecomeOne) {
  BlockPool pool(8, true);
  SequenceBlocks a, b;
  ASSERT_TRUE(a.Grow(pool, 2));
  ASSERT_TRUE(b.Grow(pool, 2));
  a.Remember(pool, Ramp(100));
  b.Remember(pool, Ramp(100));
  EXPECT_EQ(a.table()[0], b.table()[0]);
  EXPECT_NE(a.table()[1], b.table()[1]);
  EXPECT_EQ(pool.available(), 8 - 3);
}

TEST(SequenceBlocks, KeepsWhatItHasWhenThePoolHasNotEnough) {
  BlockPool pool(3, true);
  SequenceBlocks a;
  EXPECT_FALSE(a.Grow(pool, 4));
  EXPECT_EQ(a.size(), 3);
  a.DropAll(pool);
  EXPECT_EQ(pool.available(), 3);
}

}  // namespace
}  // namespace ternion
